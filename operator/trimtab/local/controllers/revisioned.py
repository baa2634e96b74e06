"""What controllers of sets share: revisions of the template, and pods that carry them."""

from __future__ import annotations

from trimtab.local.controllers import setrevisions
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.owners import is_controlled_by
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError


class RevisionedController(Controller):
    """A controller whose objects keep the history of their template."""

    def revisions(self, owner: Object) -> list[Object]:
        """The owner's revisions, the oldest first."""
        everything = self.registry.list(setrevisions.RESOURCE, owner["metadata"]["namespace"])[0]
        return sorted((r for r in everything if is_controlled_by(r, owner)), key=setrevisions.number_of)

    def present_revision(self, owner: Object, known: list[Object]) -> Object:
        """The revision of the owner's present template, with the highest number; made where it is not there."""
        found = setrevisions.matching(owner, known)
        if found is not None:
            if found is known[-1]:
                return found
            newest = {**found, "revision": setrevisions.number_of(known[-1]) + 1}
            return self.registry.update(setrevisions.RESOURCE, newest)
        collisions = int(owner.get("status", {}).get("collisionCount") or 0)
        namespace = owner["metadata"]["namespace"]
        while True:
            try:
                wanted = setrevisions.new_revision(owner, known, collisions)
                return self.registry.create(setrevisions.RESOURCE, wanted, namespace, manager=self.name)
            except ApiError as error:
                if error.status != 409:  # else another template has this hash
                    raise
                collisions += 1

    def forget_revisions(self, owner: Object, known: list[Object], used: set[str]) -> None:
        """Remove what is beyond the history limit."""
        for revision in setrevisions.surplus(owner, known, used):
            self.drop(setrevisions.RESOURCE, revision)

"""Cluster roles that gather the rules of others, chosen by their labels."""

from __future__ import annotations

from trimtab.local.access.policy import GROUP
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.feed import Change
from trimtab.local.controllers.queue import Key
from trimtab.local.objects import Object
from trimtab.local.selectors import matches_label_selector

_ROLES = f"clusterroles.{GROUP}"


class RoleAggregation(Controller):
    """The clusterrole-aggregation controller."""

    name = "clusterrole-aggregation-controller"

    def subscribe(self) -> None:
        """Any role may be gathered by any gatherer: every change wakes them all."""
        self._gatherers: set[str] = set()
        self.feed.subscribe(_ROLES, self._changed)

    def _changed(self, change: Change) -> None:
        name = change.object["metadata"]["name"]
        if change.type != "DELETED" and change.object.get("aggregationRule"):
            self._gatherers.add(name)
        else:
            self._gatherers.discard(name)
        for gatherer in self._gatherers:
            self.queue.add(Key("", gatherer))

    def reconcile(self, key: Key) -> float | None:
        """Give a gatherer the rules of every role that it selects, each rule once, in the order of names."""
        role = self.find(_ROLES, key)
        if role is None or not role.get("aggregationRule"):
            return None
        rules: list[Object] = []
        for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
            for other in self.registry.list(_ROLES)[0]:
                metadata = other["metadata"]
                if metadata["name"] != key.name and matches_label_selector(selector, metadata.get("labels") or {}):
                    rules += [rule for rule in other.get("rules") or () if rule not in rules]
        if rules != (role.get("rules") or []):
            self.registry.update(_ROLES, {**role, "rules": rules}, manager=self.name)
        return None

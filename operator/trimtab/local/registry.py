"""The registry: every object of the cluster, and the rules by which it may be read and written."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from trimtab.local import evicting, patching, scaling, statuses
from trimtab.local.addresses import ServiceRange
from trimtab.local.catalog import Catalog
from trimtab.local.deleting import DeleteOptions, check_preconditions
from trimtab.local.encodings import Encodings
from trimtab.local.entering import PodAccess
from trimtab.local.fieldselectors import field_matcher
from trimtab.local.gotext import go_text
from trimtab.local.incoming import (
    Check,
    Terms,
    applied_config,
    decoded,
    decoded_patch,
    patched_text,
    presented,
)
from trimtab.local.kinds import pods
from trimtab.local.kinds.served import Served
from trimtab.local.labelselectors import label_matcher
from trimtab.local.listing import Piece, piece_of
from trimtab.local.managed import Manager
from trimtab.local.objects import Event, Object
from trimtab.local.preparing import check_identity, place
from trimtab.local.resources import group_version
from trimtab.local.state.journal import Journal
from trimtab.local.state.records import Saved
from trimtab.local.statuses import ApiError
from trimtab.local.store import Store
from trimtab.local.times import stamp
from trimtab.local.transactions import Transactions
from trimtab.local.watching import Filter, Watch

__all__ = ["ApiError", "Event", "Object", "Registry"]

# Spelled out here, as `list` is a method inside the class.
Objects = list[Object]
Warnings = list[str]
_PRESERVED = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them "
    "or set propagationPolicy=Orphan to suppress this warning"
)
PodLogs = Callable[..., AsyncIterator[bytes]]


class Registry:
    """All objects; every call that reads or writes is synchronous and made on the event loop's thread.

    Returned objects are the caller's to read, never to change (copy.deepcopy before changing).
    `resource` is "plural" or "plural.group". Writers give their name as `manager`; warnings that a client
    should see are appended to `warnings` where a list is given. `version` is the API version that the
    caller speaks, where a kind has several.

    Attributes:
        clock: tells the time; aware datetimes.
        ids: makes unique identifiers.
        pod_logs: set by the node agent: (namespace, pod, container, follow, tail_lines, previous,
            timestamps, since_seconds, limit_bytes) to the lines of a container.
        pod_access: set by the node agent: the way into running pods.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        ids: Callable[[], str],
        *,
        service_range: str = "10.96.0.0/16",
        journal: Journal | None = None,
        saved: Saved | None = None,
    ) -> None:
        """`journal` keeps what is written, `saved` is what an earlier registry kept; without them memory is all."""
        self.clock = clock
        self.ids = ids
        self.catalog = Catalog()
        self.pod_logs: PodLogs | None = None
        self.pod_access: PodAccess | None = None
        self._store = Store(journal, saved)
        self._transactions = Transactions(self._store, self.catalog, ServiceRange(service_range), ids)
        if saved is not None:
            self._transactions.resume()

    @property
    def admission(self) -> dict[str, Callable[[Object], None]]:
        """What completes or refuses new objects, by resource; raises ApiError."""
        return self._transactions.admission

    @property
    def encodings(self) -> Encodings:
        """The JSON of objects, each encoded once."""
        return self._store.encodings

    @property
    def version(self) -> int:
        """The newest resourceVersion."""
        return self._store.version

    async def durable(self, version: int | None = None) -> None:
        """Wait until a version, or everything written so far, outlasts a crash; nobody outside hears of it before.

        Raises:
            ApiError: 500 when the state cannot be written any more.
        """
        await self._store.durable(version)

    def now(self) -> str:
        return stamp(self.clock())

    # Reading.

    def get(self, resource: str, name: str, namespace: str | None = None, *, version: str | None = None) -> Object:
        """One object. Raises ApiError 404."""
        served = self.catalog.get(resource)
        return presented(served, self._existing(served, namespace, name), version)

    def list(
        self,
        resource: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        *,
        version: str | None = None,
    ) -> tuple[Objects, str]:
        """The selected objects, ordered by namespace and name, and the version they are the state of.

        Raises:
            ApiError: 400 for a selector that cannot be read.
        """
        served = self.catalog.get(resource)
        chosen = self._filter(served, namespace, label_selector, field_selector)
        found = [presented(served, obj, version) for obj in self._store.all(resource) if chosen.admits(obj)]
        return found, str(self._store.version)

    def page(
        self,
        resource: str,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        *,
        version: str | None = None,
        at: int | None = None,
        limit: int = 0,
        start: str = "",
    ) -> tuple[Piece, str]:
        """Like `list`, but at most `limit` objects (0: all) from the key `start` on. Raises ApiError 400, 410."""
        served = self.catalog.get(resource)
        chosen = self._filter(served, namespace, label_selector, field_selector)
        objects = self._store.all(resource) if at is None else self._store.at(resource, at)
        if chosen.namespace:
            objects = [obj for obj in objects if obj["metadata"].get("namespace") == chosen.namespace]
        piece = piece_of(objects, chosen.admits, limit, start, within=bool(chosen.namespace))
        shown = [presented(served, obj, version) for obj in piece.items]
        return replace(piece, items=shown), str(self._store.version if at is None else at)

    def watch(
        self,
        resource: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        resource_version: str | None = None,
    ) -> Watch:
        """Watch from a version on; without one, what is there comes first, as ADDED.

        The watch is subscribed when this returns; `close()` ends it, and so does dropping it.

        Raises:
            ApiError: 410 when the history does not reach back that far.
        """
        served = self.catalog.get(resource)
        chosen = self._filter(served, namespace, label_selector, field_selector)
        return self._store.watch(resource, chosen, int(resource_version) if resource_version else None)

    # Writing.

    def create(
        self,
        resource: str,
        obj: Object,
        namespace: str | None = None,
        *,
        manager: str = "embedded-cluster",
        dry_run: bool = False,
        field_validation: str = "Ignore",
        version: str | None = None,
        warnings: Warnings | None = None,
        complaints: Sequence[str] = (),
        check: Check | None = None,
    ) -> Object:
        """Store a new object; returns it as it is kept.

        Raises:
            ApiError: 409 if it exists, 422 if it is invalid, 404 if its namespace is not there.
        """
        served = self.catalog.get(resource)
        terms = self._terms(served, version, manager, None, dry_run, field_validation, warnings, complaints, check)
        new = decoded(served, obj, terms)
        place(served.resource, new, namespace)
        return self._create(served, new, terms)

    def _create(self, served: Served, new: Object, terms: Terms) -> Object:
        served.default(new, terms.version)
        return self._transactions.create(served, new, terms, self.now())

    def update(
        self,
        resource: str,
        obj: Object,
        *,
        subresource: str | None = None,
        manager: str = "embedded-cluster",
        dry_run: bool = False,
        field_validation: str = "Ignore",
        version: str | None = None,
        warnings: Warnings | None = None,
        complaints: Sequence[str] = (),
        check: Check | None = None,
    ) -> Object:
        """Replace an object; one that carries a resourceVersion replaces that version only.

        The scale subresource takes and returns a Scale.

        Raises:
            ApiError: 409 when it has changed since, 404 if it is not there, 422 if it is invalid.
        """
        if subresource == "finalize":
            return self.finalize_namespace(obj)
        served = self.catalog.get(resource)
        terms = self._terms(
            served, version, manager, subresource, dry_run, field_validation, warnings, complaints, check
        )
        new = obj if subresource == "scale" else decoded(served, obj, terms)
        metadata = new.get("metadata") or {}
        name = metadata.get("name") or ""
        old = self._store.find(resource, metadata.get("namespace") or "", name)
        if old is None and (subresource or not served.rules.creates_on_update):
            raise statuses.not_found(served.resource, name)
        check_identity(served.resource, metadata, old)
        if old is None:
            metadata.pop("resourceVersion", None)
            return self._create(served, new, terms)
        if subresource == "scale":
            return self._rescale(served, old, obj, terms)
        if not metadata.get("resourceVersion") and not served.rules.unconditional:
            cause = statuses.invalid_value("metadata.resourceVersion", "0", "must be specified for an update")
            raise statuses.invalid(served.resource.group, served.resource.plural, name, [cause])
        served.default(new, terms.version)
        return self._transactions.replace(served, old, new, terms, self.now())

    def _rescale(self, served: Served, old: Object, scale: Object, terms: Terms) -> Object:
        paths = served.scale_paths(terms.version)
        new = scaling.scaled(presented(served, old, terms.version), scale, paths)
        return scaling.scale_of(self._transactions.replace(served, old, new, terms, self.now()), paths)

    def patch(
        self,
        resource: str,
        name: str,
        namespace: str | None,
        patch: Any,
        content_type: str,
        *,
        subresource: str | None = None,
        manager: str,
        force: bool = False,
        dry_run: bool = False,
        field_validation: str = "Ignore",
        version: str | None = None,
        warnings: Warnings | None = None,
        complaints: Sequence[str] = (),
        check: Check | None = None,
    ) -> Object:
        """Change an object by a patch; an apply creates it where it is not there.

        `patch` is the parsed document: a list of operations for a JSON patch, else an object. The scale
        subresource is patched as a Scale, which is returned.

        Raises:
            ApiError: 404, 409 (conflict), 415 (kind of patch), 422 (invalid).
        """
        served = self.catalog.get(resource)
        terms = self._terms(
            served, version, manager, subresource, dry_run, field_validation, warnings, complaints, check
        )
        if content_type == patching.APPLY and subresource != "scale":
            terms = replace(terms, manager=replace(terms.manager, operation="Apply"))
            config = applied_config(served, name, patch, terms)
            return self._transactions.apply(served, namespace, name, config, terms, self.now(), force=force)
        if content_type == patching.STRATEGIC and served.resource.custom:
            raise _unsupported_patch()
        old = self._existing(served, namespace, name)
        current = presented(served, old, terms.version)
        if subresource == "scale":
            scale = scaling.scale_of(current, served.scale_paths(terms.version))
            kind = patching.MERGE if content_type == patching.APPLY else content_type
            return self._rescale(served, old, patching.patched(scale, patch, kind, {}), terms)
        document = patching.patched(current, patch, content_type, served.schema(terms.version))

        def quoted() -> str:
            return go_text(patch) if content_type == patching.STRATEGIC else patched_text(document)

        new = decoded_patch(served, document, name, quoted, terms)
        place(served.resource, new, namespace)
        served.default(new, terms.version)
        return self._transactions.replace(served, old, new, terms, self.now())

    def delete(
        self,
        resource: str,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str | None = None,
        grace_seconds: int | None = None,
        preconditions: Object | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Delete an object, or mark it where a finalizer or a grace period holds it; returns its last state."""
        options = DeleteOptions(propagation, grace_seconds, preconditions)
        return self.remove(resource, name, namespace, options, dry_run=dry_run)[0]

    def remove(
        self,
        resource: str,
        name: str,
        namespace: str | None,
        options: DeleteOptions,
        *,
        dry_run: bool = False,
        warnings: Warnings | None = None,
    ) -> tuple[Object, bool]:
        """Like `delete`; also tells whether the object is gone. Raises ApiError 404, 409."""
        served = self.catalog.get(resource)
        old = self._existing(served, namespace, name)
        if warnings is not None and options.propagation is None and served.rules.orphans_by_default:
            warnings.append(_PRESERVED)
        return self._transactions.remove(served, old, options, self.clock(), dry_run=dry_run)

    def scale(self, resource: str, name: str, namespace: str | None, version: str | None = None) -> Object:
        """The Scale of an object. Raises ApiError 404."""
        served = self.catalog.get(resource)
        paths = served.scale_paths(version or served.resource.version)
        return scaling.scale_of(self._existing(served, namespace, name), paths)

    def bind(self, name: str, namespace: str, node: str, *, dry_run: bool = False) -> Object:
        """Assign a pod to a node. Raises ApiError 404, and 409 when it is assigned already."""
        served = self.catalog.get("pods")
        new = pods.bound(self._existing(served, namespace, name), node, self.now())
        return new if dry_run else self._transactions.keep(served, new, self.now())

    def evict(self, name: str, namespace: str, options: DeleteOptions, *, dry_run: bool = False) -> Object:
        """Delete a pod, unless a disruption budget that selects it allows no disruption now.

        Raises:
            ApiError: 404, 409 when a precondition fails, and 429 while a budget holds it.
        """
        served = self.catalog.get("pods")
        pod = self._existing(served, namespace, name)
        check_preconditions(served.resource, pod, options.preconditions)
        budget = evicting.guard(self._store.all("poddisruptionbudgets.policy"), pod)
        if budget is not None and (changed := evicting.spent(budget, pod, self.now())) is not None and not dry_run:
            self._transactions.keep(self.catalog.get("poddisruptionbudgets.policy"), changed, self.now())
        if not dry_run:
            self._transactions.keep(served, evicting.condemned(pod, self.now()), self.now())
        unconditional = replace(options, preconditions=None)
        return self.remove("pods", name, namespace, unconditional, dry_run=dry_run)[0]

    def finalize_namespace(self, obj: Object) -> Object:
        """Write a namespace's spec.finalizers; without any, a terminating namespace is gone."""
        served = self.catalog.get("namespaces")
        old = self._existing(served, None, obj["metadata"]["name"])
        new = {**old, "spec": {"finalizers": (obj.get("spec") or {}).get("finalizers") or []}}
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not new["spec"]["finalizers"] and not metadata.get("finalizers"):
            return self._transactions.drop(served, new, self.now())
        return old if new == old else self._transactions.keep(served, new, self.now())

    def counts(self) -> dict[str, int]:
        """How many objects there are, by resource."""
        return {resource: len(self._store.all(resource)) for resource in self._store.resources()}

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        """One object, or None; a quick look that raises nothing."""
        return self._store.find(resource, namespace, name)

    def _existing(self, served: Served, namespace: str | None, name: str) -> Object:
        return self._transactions.existing(served, namespace, name)

    def _filter(self, served: Served, namespace: str | None, labels: str | None, fields: str | None) -> Filter:
        return Filter(
            namespace if served.resource.namespaced else None,
            label_matcher(labels),
            field_matcher(fields, served.resource, served.selectable_fields()),
        )

    def _terms(
        self,
        served: Served,
        version: str | None,
        manager: str,
        subresource: str | None,
        dry_run: bool,
        validation: str,
        warnings: Warnings | None,
        complaints: Sequence[str],
        check: Check | None,
    ) -> Terms:
        version = version or served.resource.version
        api_version = group_version(served.resource.group, version)
        who = Manager(manager, "Update", api_version, subresource or "")
        return Terms(version, who, dry_run, validation, warnings, complaints, check)

    def close(self) -> None:
        """End every watch."""
        self._store.close_watches()


def _unsupported_patch() -> ApiError:
    return ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    )

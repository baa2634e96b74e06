"""The registry: every object of the cluster, and the rules by which it may be read and written."""

import copy
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

from trimtab.local import deleting, evicting, managed, patching, scaling, statuses
from trimtab.local.addresses import ServiceRange
from trimtab.local.catalog import Catalog
from trimtab.local.definitions import CRDS, Definitions
from trimtab.local.deleting import DeleteOptions
from trimtab.local.kinds import pods
from trimtab.local.kinds.definitions import CLEANUP
from trimtab.local.kinds.served import Served
from trimtab.local.objects import Event, Object, quote
from trimtab.local.preparing import (
    place,
    prepare_new,
    prepare_status,
    prepare_update,
    unknown_fields_refused,
)
from trimtab.local.resources import group_version
from trimtab.local.schema.decoding import Undecodable
from trimtab.local.selectors import field_matcher, label_matcher
from trimtab.local.statuses import ApiError
from trimtab.local.store import Store
from trimtab.local.times import stamp
from trimtab.local.watching import Filter, Watch

__all__ = ["ApiError", "Event", "Object", "Registry"]

# Spelled out here, as `list` is a method inside the class.
Objects = list[Object]
Warnings = list[str]
Entries = list[managed.Entry]
PodLogs = Callable[..., AsyncIterator[bytes]]


class Registry:
    """All objects, in memory; every call is synchronous and made on the event loop's thread.

    Returned objects are the caller's to read, never to change (copy.deepcopy before changing).
    `resource` is "plural" or "plural.group". Writers give their name as `manager`; warnings that a client
    should see are appended to `warnings` where a list is given. `version` is the API version that the
    caller speaks, where a kind has several.

    Attributes:
        clock: tells the time; aware datetimes.
        ids: makes unique identifiers.
        pod_logs: set by the node agent: (namespace, pod, container, follow, tail_lines, previous,
            timestamps, since_seconds, limit_bytes) to the lines of a container.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        ids: Callable[[], str],
        *,
        service_range: str = "10.96.0.0/16",
    ) -> None:
        self.clock = clock
        self.ids = ids
        self.catalog = Catalog()
        self.pod_logs: PodLogs | None = None
        self._store = Store()
        self._services = ServiceRange(service_range)
        self._definitions = Definitions(self.catalog, self._store)

    # What rules of kinds may look at (kinds.rules.Neighbours).

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        return self._store.find(resource, namespace, name)

    def allocate_service_ip(self, wanted: str | None) -> str:
        return self._services.allocate(wanted)

    @property
    def version(self) -> int:
        """The newest resourceVersion."""
        return self._store.version

    def now(self) -> str:
        return stamp(self.clock())

    # Reading.

    def get(self, resource: str, name: str, namespace: str | None = None, *, version: str | None = None) -> Object:
        """One object. Raises ApiError 404."""
        served = self.catalog.get(resource)
        return _presented(served, self._existing(served, namespace, name), version)

    def list(
        self,
        resource: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        *,
        version: str | None = None,
    ) -> tuple[Objects, str]:
        """The selected objects, ordered by namespace and name, and the version they are the state of."""
        served = self.catalog.get(resource)
        chosen = self._filter(served, namespace, label_selector, field_selector)
        found = [_presented(served, obj, version) for obj in self._store.all(resource) if chosen.admits(obj)]
        return found, str(self._store.version)

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
    ) -> Object:
        """Store a new object; returns it as it is kept.

        Raises:
            ApiError: 409 if it exists, 422 if it is invalid, 404 if its namespace is not there.
        """
        served = self.catalog.get(resource)
        version = version or served.resource.version
        new = self._decode(served, copy.deepcopy(obj), version, field_validation, warnings)
        place(served.resource, new, namespace)
        served.default(new, version)
        self._admit_namespace(served, new)
        who = managed.Manager(manager, "Update", group_version(served.resource.group, version))
        return self._create(served, new, version, who, None, dry_run=dry_run)

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
    ) -> Object:
        """Replace an object; one that carries a resourceVersion replaces that version only.

        Raises:
            ApiError: 409 when it has changed since, 404 if it is not there, 422 if it is invalid.
        """
        served = self.catalog.get(resource)
        version = version or served.resource.version
        metadata = obj.get("metadata") or {}
        old = self._existing(served, metadata.get("namespace"), metadata.get("name") or "")
        who = self._manager(served, manager, version, subresource)
        if subresource == "finalize":
            return self.finalize_namespace(obj)
        if subresource == "scale":
            new = scaling.scaled(_presented(served, old, version), obj, served.scale_paths(version))
            return self._replace(served, old, new, version, who, None, dry_run=dry_run)
        new = self._decode(served, copy.deepcopy(obj), version, field_validation, warnings)
        if not new["metadata"].get("resourceVersion") and not served.rules.unconditional:
            raise statuses.invalid(
                served.resource.group,
                served.resource.plural,
                metadata["name"],
                [statuses.invalid_value("metadata.resourceVersion", "0", "must be specified for an update")],
            )
        served.default(new, version)
        return self._replace(served, old, new, version, who, None, dry_run=dry_run)

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
    ) -> Object:
        """Change an object by a patch; an apply creates it where it is not there.

        `patch` is the parsed document: a list of operations for a JSON patch, else an object.

        Raises:
            ApiError: 404, 409 (conflict), 415 (kind of patch), 422 (invalid).
        """
        served = self.catalog.get(resource)
        version = version or served.resource.version
        if content_type == patching.APPLY:
            who = self._manager(served, manager, version, subresource, "Apply")
            config = self._applied_config(served, name, patch, version, subresource, field_validation, warnings)
            return self._apply(served, name, namespace, config, version, who, force=force, dry_run=dry_run)
        who = self._manager(served, manager, version, subresource)
        old = self._existing(served, namespace, name)
        current = _presented(served, old, version)
        if content_type == patching.STRATEGIC and served.resource.custom:
            raise _unsupported_patch()
        if subresource == "scale":
            paths = served.scale_paths(version)
            scale = patching.patched(scaling.scale_of(current, paths), patch, content_type, {})
            new = scaling.scaled(current, scale, paths)
        else:
            document = patching.patched(current, patch, content_type, served.schema(version))
            new = self._decode_patched(served, copy.deepcopy(document), version, field_validation, warnings)
            if new["metadata"].get("name") != name:
                raise statuses.bad_request(
                    f"the name of the object ({new['metadata'].get('name')}) does not match "
                    f"the name on the URL ({name})"
                )
            served.default(new, version)
        return self._replace(served, old, new, version, who, None, dry_run=dry_run)

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
    ) -> tuple[Object, bool]:
        """Like `delete`; also tells whether the object is gone. Raises ApiError 404, 409."""
        served = self.catalog.get(resource)
        old = self._existing(served, namespace, name)
        deleting.check_preconditions(served.resource, old, options.preconditions)
        served.rules.may_delete(old)
        new, gone = deleting.marked(served.resource, old, options, self.now())
        new, gone = served.rules.on_delete(new, gone, self.now())
        if dry_run:
            return new, gone
        if gone:
            return self._remove(served, new), True
        marked = old if new == old else self._store_object(served, new)
        if resource == CRDS:
            self._remove_instances(name, options)
        return marked, False

    def scale(self, resource: str, name: str, namespace: str | None, version: str | None = None) -> Object:
        """The Scale of an object. Raises ApiError 404."""
        served = self.catalog.get(resource)
        paths = served.scale_paths(version or served.resource.version)
        return scaling.scale_of(self._existing(served, namespace, name), paths)

    def bind(self, name: str, namespace: str, node: str) -> Object:
        """Assign a pod to a node. Raises ApiError 404, and 409 when it is assigned already."""
        served = self.catalog.get("pods")
        old = self._existing(served, namespace, name)
        return self._store_object(served, pods.bound(old, node, self.now()))

    def evict(self, name: str, namespace: str, options: DeleteOptions, *, dry_run: bool = False) -> Object:
        """Delete a pod, unless a disruption budget that selects it allows no disruption now.

        Raises:
            ApiError: 404, and 429 while a budget holds it.
        """
        served = self.catalog.get("pods")
        pod = self._existing(served, namespace, name)
        for budget in self._store.all("poddisruptionbudgets.policy"):
            if evicting.guards(budget, pod):
                changed = evicting.spent(budget, pod, self.now())
                if not dry_run:
                    self._store_object(self.catalog.get("poddisruptionbudgets.policy"), changed)
        return self.remove("pods", name, namespace, options, dry_run=dry_run)[0]

    def finalize_namespace(self, obj: Object) -> Object:
        """Write a namespace's spec.finalizers; without any, a terminating namespace is gone."""
        served = self.catalog.get("namespaces")
        old = self._existing(served, None, obj["metadata"]["name"])
        new = {**old, "spec": {"finalizers": (obj.get("spec") or {}).get("finalizers") or []}}
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not new["spec"]["finalizers"] and not metadata.get("finalizers"):
            return self._remove(served, new)
        return old if new == old else self._store_object(served, new)

    # Below: the steps that writes share.

    def _existing(self, served: Served, namespace: str | None, name: str) -> Object:
        where = (namespace or "") if served.resource.namespaced else ""
        obj = self._store.find(served.resource.key, where, name)
        if obj is None:
            raise statuses.not_found(served.resource, name)
        return obj

    def _filter(self, served: Served, namespace: str | None, labels: str | None, fields: str | None) -> Filter:
        selectable = served.selectable_fields()
        return Filter(
            namespace if served.resource.namespaced else None,
            label_matcher(labels),
            field_matcher(fields, served.resource.key, selectable),
        )

    def _manager(
        self,
        served: Served,
        name: str,
        version: str,
        subresource: str | None,
        operation: str = "Update",
    ) -> managed.Manager:
        api_version = group_version(served.resource.group, version)
        return managed.Manager(name, operation, api_version, subresource or "")

    def _decode(self, served: Served, obj: Object, version: str, validation: str, warnings: Warnings | None) -> Object:
        kind = served.resource.kind
        try:
            decoded = served.decode(obj, version)
        except Undecodable as error:
            raise statuses.bad_request(
                f'{kind} in version "{version}" cannot be handled as a {kind}: {error}'
            ) from None
        unknown_fields_refused(kind, version, decoded.unknown, validation, warnings)
        return decoded.object

    def _decode_patched(
        self, served: Served, obj: Object, version: str, validation: str, warnings: Warnings | None
    ) -> Object:
        try:
            decoded = served.decode(obj, version)
        except Undecodable as error:
            shown = statuses.invalid_value("patch", quote(quote(obj)), str(error))
            raise ApiError(422, "Invalid", f' "" is invalid: {shown}', {"causes": [shown.cause()]}) from None
        unknown_fields_refused(served.resource.kind, version, decoded.unknown, validation, warnings)
        return decoded.object

    def _applied_config(
        self,
        served: Served,
        name: str,
        patch: Any,
        version: str,
        subresource: str | None,
        validation: str,
        warnings: Warnings | None,
    ) -> Object:
        """What a manager applies, reduced to the part that it applies to."""
        if not isinstance(patch, dict) or not patch.get("apiVersion") or not patch.get("kind"):
            given = patch if isinstance(patch, dict) else {}
            shown = f"{given.get('apiVersion', '/') or '/'}, Kind={given.get('kind', '')}"
            raise statuses.bad_request(f"invalid object type: {shown}")
        config = copy.deepcopy(patch)
        config.setdefault("metadata", {}).setdefault("name", name)
        if config["metadata"].get("managedFields"):
            raise statuses.bad_request("metadata.managedFields must be nil")
        if config["metadata"]["name"] != name:
            raise statuses.bad_request(
                f"the name of the object ({config['metadata']['name']}) does not match the name on the URL ({name})"
            )
        config = self._decode(served, config, version, validation, warnings)
        if subresource == "status":
            config = {k: v for k, v in config.items() if k in ("apiVersion", "kind", "metadata", "status")}
            config["metadata"] = {"name": name}
        elif served.has_status(version):
            config.pop("status", None)
        return config

    def _apply(
        self,
        served: Served,
        name: str,
        namespace: str | None,
        config: Object,
        version: str,
        who: managed.Manager,
        *,
        force: bool,
        dry_run: bool,
    ) -> Object:
        place(served.resource, config, namespace)
        key = served.resource.key
        old = self._store.find(key, config["metadata"].get("namespace", ""), name)
        now = self.now()
        if old is None:
            if who.subresource:
                raise statuses.not_found(served.resource, name)
            if config["metadata"].get("resourceVersion"):
                raise statuses.modified(served.resource, name)
            empty: Object = {"metadata": {}}
            applied = managed.apply(empty, config, served.schema(version), who, force=force, now=now)
            new = applied.object
            served.default(new, version)
            self._admit_namespace(served, new)
            return self._create(served, new, version, who, applied.entries, dry_run=dry_run)
        current = _presented(served, old, version)
        applied = managed.apply(current, config, served.schema(version), who, force=force, now=now)
        new = copy.deepcopy(applied.object)
        served.default(new, version)
        return self._replace(served, old, new, version, who, applied.entries, dry_run=dry_run)

    def _admit_namespace(self, served: Served, new: Object) -> None:
        """Nothing may be created where there is no namespace, or where it or the kind is going away."""
        if served.resource.custom:
            definition = self._store.find(CRDS, "", served.resource.key)
            if definition is not None and definition["metadata"].get("deletionTimestamp"):
                text = "create not allowed while custom resource definition is terminating"
                raise ApiError(405, "MethodNotAllowed", text, {"kind": served.resource.plural})
        if not served.resource.namespaced:
            return
        name = new["metadata"].get("namespace", "")
        namespace = self._store.find("namespaces", "", name)
        if namespace is None:
            raise statuses.not_found(self.catalog.get("namespaces").resource, name)
        if namespace["metadata"].get("deletionTimestamp"):
            raise statuses.forbidden(
                served.resource,
                new["metadata"].get("name", ""),
                f"unable to create new content in namespace {name} because it is being terminated",
                [
                    {
                        "reason": "NamespaceTerminating",
                        "message": f"namespace {name} is being terminated",
                        "field": "metadata.namespace",
                    }
                ],
            )

    def _create(
        self,
        served: Served,
        new: Object,
        version: str,
        who: managed.Manager,
        entries: Entries | None,
        *,
        dry_run: bool,
    ) -> Object:
        resource = served.resource
        prepare_new(served, new, version, self.ids, self.now())
        served.rules.admit(new, self)
        if error := served.validate(new, None, version, ""):
            raise error
        key, metadata = resource.key, new["metadata"]
        if self._store.find(key, metadata.get("namespace", ""), metadata["name"]):
            raise statuses.already_exists(resource, metadata["name"])
        if entries is None:
            managed.record_update(None, new, served.schema(version), who, self.now())
        else:
            managed.with_entries(new, entries)
        served.revive(new, version)
        if dry_run:
            return new
        served.rules.commit(new, self)
        return _presented(served, self._store_object(served, new), version)

    def _replace(
        self,
        served: Served,
        old: Object,
        new: Object,
        version: str,
        who: managed.Manager,
        entries: Entries | None,
        *,
        dry_run: bool,
    ) -> Object:
        """Write a new state of an existing object, if it is one."""
        if (given := new["metadata"].get("resourceVersion")) and given != old["metadata"]["resourceVersion"]:
            raise statuses.modified(served.resource, old["metadata"]["name"])
        current = _presented(served, old, version)
        if who.subresource == "status":
            prepare_status(served, new, current, version)
        else:
            prepare_update(served, new, current, version)
        if error := served.validate(new, current, version, who.subresource):
            raise error
        if entries is None:
            managed.record_update(current, new, served.schema(version), who, self.now())
        else:
            managed.with_entries(new, entries)
        served.revive(new, version)
        if new == current:
            return current
        if dry_run:
            return new
        if deleting.finished(new):
            self._remove(served, new)
            return new
        return _presented(served, self._store_object(served, new), version)

    def _store_object(self, served: Served, obj: Object) -> Object:
        resource = served.resource
        if obj["apiVersion"] != resource.api_version:
            obj = {**obj, "apiVersion": resource.api_version}
        stored = self._store.put(resource.key, obj)
        if resource.key == CRDS:
            self._definitions.written(stored, self.now())
        return stored

    def _remove(self, served: Served, obj: Object) -> Object:
        resource = served.resource
        last = self._store.remove(resource.key, obj)
        if resource.key == "services":
            self._services.release(last["spec"].get("clusterIP", ""))
        if resource.key == CRDS:
            self._definitions.removed(last)
        elif resource.custom:
            self._finish_definition(resource.key)
        return last

    def _remove_instances(self, definition: str, options: DeleteOptions) -> None:
        """Delete every object of a kind that goes away; the definition follows the last one."""
        for obj in self._store.all(definition):
            metadata = obj["metadata"]
            self.remove(definition, metadata["name"], metadata.get("namespace"), DeleteOptions(options.propagation))
        self._finish_definition(definition)

    def _finish_definition(self, name: str) -> None:
        """Remove a definition that waits for nothing but its own cleanup."""
        definition = self._store.find(CRDS, "", name)
        if definition is None or not definition["metadata"].get("deletionTimestamp") or self._store.all(name):
            return
        finalizers = [f for f in definition["metadata"].get("finalizers") or [] if f != CLEANUP]
        if not finalizers:
            self._remove(self.catalog.get(CRDS), definition)

    def close(self) -> None:
        """End every watch."""
        self._store.close_watches()


def _presented(served: Served, obj: Object, version: str | None) -> Object:
    """A stored object as a client of that version sees it."""
    resource = served.resource
    if version is None or version == resource.version:
        return obj
    out = {**obj, "apiVersion": group_version(resource.group, version)}
    served.revive(out, version)
    return out


def _unsupported_patch() -> ApiError:
    return ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    )

"""The steps of a write, from a decoded object to what is stored."""

from collections.abc import Callable, Sequence
from datetime import datetime

from trimtab.local import deleting, managed, statuses
from trimtab.local.access.podsecurity import PodSecurity
from trimtab.local.addresses import ServiceRange
from trimtab.local.catalog import Catalog
from trimtab.local.definitions import CRDS, Definitions
from trimtab.local.deleting import DeleteOptions
from trimtab.local.incoming import Terms, check_name, presented
from trimtab.local.kinds.advice import advice, finalizer_advice, without_repeated_owners
from trimtab.local.kinds.definitions import CLEANUP
from trimtab.local.kinds.served import Served
from trimtab.local.objects import Object
from trimtab.local.preparing import place, prepare_new, prepare_status, prepare_update
from trimtab.local.schema.pruning import copied
from trimtab.local.statuses import ApiError
from trimtab.local.store import Store
from trimtab.local.times import stamp


class Transactions:
    """Creates, replaces, applies and removes objects of the store, by the rules of their kinds."""

    def __init__(self, store: Store, catalog: Catalog, services: ServiceRange, ids: Callable[[], str]) -> None:
        self._store = store
        self._catalog = catalog
        self._services = services
        self._definitions = Definitions(catalog, store)
        self._ids = ids
        self.admission: dict[str, Callable[[Object], None]] = {}
        self.judges = PodSecurity(store.find).judges()

    def resume(self) -> None:
        """Go on with what an earlier run stored: serve its custom kinds, reserve the addresses of its Services."""
        self._definitions.resume()
        for service in self._store.all("services"):
            if (address := service["spec"].get("clusterIP") or "None") != "None":
                self._services.allocate(address)

    # What rules of kinds may look at (kinds.rules.Neighbours).

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        return self._store.find(resource, namespace, name)

    def every(self, resource: str) -> Sequence[Object]:
        return self._store.all(resource)

    def allocate_service_ip(self, wanted: str | None) -> str:
        return self._services.allocate(wanted)

    def existing(self, served: Served, namespace: str | None, name: str) -> Object:
        """Raises ApiError 404."""
        where = (namespace or "") if served.resource.namespaced else ""
        obj = self._store.find(served.resource.key, where, name)
        if obj is None:
            raise statuses.not_found(served.resource, name)
        return obj

    def create(
        self,
        served: Served,
        new: Object,
        terms: Terms,
        now: str,
        entries: list[managed.Entry] | None = None,
    ) -> Object:
        """Store a new object, given with its defaults; `entries` says who owns what, if that is known already."""
        resource, version = served.resource, terms.version
        _name_owners_once(new, terms)
        self._admit_place(served, new)
        if terms.check is not None:
            terms.check(new, None)
        where = new["metadata"].get("namespace", "")
        prepare_new(
            served, new, version, self._ids, now, lambda name: self._store.find(resource.key, where, name) is not None
        )
        served.rules.admit(new, self)
        if (admit := self.admission.get(resource.key)) is not None:
            admit(new)
        if error := served.validate(new, None, version, ""):
            raise error
        if (judge := self.judges.get(resource.key)) is not None:
            judge(new, None, terms.warnings)
        _advise(served, new, None, terms)
        metadata = new["metadata"]
        if self._store.find(resource.key, metadata.get("namespace", ""), metadata["name"]):
            raise statuses.already_exists(resource, metadata["name"])
        if entries is None:
            managed.record_update(None, new, served.schema(version), terms.manager, now)
        else:
            managed.with_entries(new, entries)
        served.revive(new, version)
        if terms.dry_run:
            return new
        served.rules.commit(new, self)
        return presented(served, self.keep(served, new, now), version)

    def replace(
        self,
        served: Served,
        old: Object,
        new: Object,
        terms: Terms,
        now: str,
        entries: list[managed.Entry] | None = None,
    ) -> Object:
        """Write a new state of an existing object, if it is one. Raises ApiError 409, 422."""
        version = terms.version
        _name_owners_once(new, terms)
        if (given := new["metadata"].get("resourceVersion")) and given != old["metadata"]["resourceVersion"]:
            raise statuses.modified(served.resource, old["metadata"]["name"])
        current = presented(served, old, version)
        if terms.subresource == "status":
            prepare_status(served, new, current)
        else:
            prepare_update(served, new, current, version)
        if terms.check is not None:
            terms.check(new, current)
        if error := served.validate(new, current, version, terms.subresource):
            raise error
        if not terms.subresource and (judge := self.judges.get(served.resource.key)) is not None:
            judge(new, current, terms.warnings)
        _advise(served, new, current, terms)
        if entries is None:
            managed.record_update(current, new, served.schema(version), terms.manager, now)
        else:
            managed.with_entries(new, entries)
        served.revive(new, version)
        if new == current:
            return current
        if terms.dry_run:
            return new
        if deleting.finished(new):
            self.drop(served, new, now)
            return new
        return presented(served, self.keep(served, new, now), version)

    def apply(
        self, served: Served, namespace: str | None, name: str, config: Object, terms: Terms, now: str, *, force: bool
    ) -> Object:
        """Server-side apply; creates the object where it is not there. Raises ApiError 409 on conflicts."""
        place(served.resource, config, namespace)
        node = served.schema(terms.version)
        old = self._store.find(served.resource.key, config["metadata"].get("namespace", ""), name)
        if old is None:
            if terms.subresource:
                raise statuses.not_found(served.resource, name)
            check_name(config, name)
            if config["metadata"].get("resourceVersion"):
                raise statuses.modified(served.resource, name)
            if uid := config["metadata"].get("uid"):
                raise statuses.conflict(
                    served.resource,
                    name,
                    f"uid mismatch: the provided object specified uid {uid}, and no existing object was found",
                )
            applied = managed.apply({"metadata": {}}, config, node, terms.manager, force=force, now=now)
            served.default(applied.object, terms.version)
            return self.create(served, applied.object, terms, now, applied.entries)
        current = presented(served, old, terms.version)
        applied = managed.apply(current, config, node, terms.manager, force=force, now=now)
        new = copied(applied.object)
        served.default(new, terms.version)
        return self.replace(served, old, new, terms, now, applied.entries)

    def _admit_place(self, served: Served, new: Object) -> None:
        """Nothing may be created where there is no namespace, or where it or the kind is going away."""
        resource, name = served.resource, new["metadata"].get("name", "")
        if resource.custom and self._ends(resource.key):
            text = "create not allowed while custom resource definition is terminating"
            raise ApiError(405, "MethodNotAllowed", text, {"kind": resource.plural})
        if not resource.namespaced:
            return
        where = new["metadata"].get("namespace", "")
        namespace = self._store.find("namespaces", "", where)
        if namespace is None:
            raise statuses.not_found(self._catalog.get("namespaces").resource, where)
        if namespace["metadata"].get("deletionTimestamp"):
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {where} is being terminated",
                "field": "metadata.namespace",
            }
            text = f"unable to create new content in namespace {where} because it is being terminated"
            raise statuses.forbidden(resource, name, text, [cause])

    def _ends(self, definition: str) -> bool:
        found = self._store.find(CRDS, "", definition)
        return found is not None and bool(found["metadata"].get("deletionTimestamp"))

    def keep(self, served: Served, obj: Object, now: str) -> Object:
        """Store an object as it is; a definition takes effect with that."""
        resource = served.resource
        if obj["apiVersion"] != resource.api_version:
            obj = served.converted(obj, resource.version)
        stored = self._store.put(resource.key, obj)
        if resource.key == CRDS:
            self._definitions.written(stored, now)
        return stored

    def drop(self, served: Served, obj: Object, now: str) -> Object:
        """Take an object away, with what it had reserved; returns its last state."""
        resource = served.resource
        last = self._store.remove(resource.key, obj)
        if resource.key == "services":
            self._services.release(last["spec"].get("clusterIP", ""))
        if resource.key == CRDS:
            self._definitions.removed(last, now)
        elif resource.custom:
            self._finish_definition(resource.key, now)
        return last

    def remove(
        self, served: Served, old: Object, options: DeleteOptions, now: datetime, *, dry_run: bool
    ) -> tuple[Object, bool]:
        """Delete or mark an object; returns its state and whether it is gone. Raises ApiError 403, 409."""
        deleting.check_preconditions(served.resource, old, options.preconditions)
        served.rules.may_delete(old)
        new, gone = deleting.marked(served, old, options, now)
        new, gone = served.rules.on_delete(new, gone, stamp(now))
        if dry_run:
            return new, gone
        if gone:
            return self.drop(served, new, stamp(now)), True
        kept = old if new == old else self.keep(served, new, stamp(now))
        if served.resource.key == CRDS:
            self._remove_instances(old["metadata"]["name"], options, now)
        return kept, False

    def _remove_instances(self, definition: str, options: DeleteOptions, now: datetime) -> None:
        """Delete every object of a kind that goes away; the definition follows the last one."""
        served = self._catalog.get(definition)
        for obj in self._store.all(definition):
            self.remove(served, obj, DeleteOptions(options.propagation), now, dry_run=False)
        self._definitions.emptying(definition, stamp(now))
        self._finish_definition(definition, stamp(now))

    def _finish_definition(self, name: str, now: str) -> None:
        """Remove a definition that waits for nothing but its own cleanup."""
        definition = self._store.find(CRDS, "", name)
        if definition is None or not self._ends(name) or self._store.all(name):
            return
        if all(finalizer == CLEANUP for finalizer in definition["metadata"].get("finalizers") or []):
            self.drop(self._catalog.get(CRDS), definition, now)


def _name_owners_once(new: Object, terms: Terms) -> None:
    new["metadata"], warnings = without_repeated_owners(new["metadata"])
    if terms.warnings is not None:
        terms.warnings.extend(warnings)


def _advise(served: Served, new: Object, old: Object | None, terms: Terms) -> None:
    """Tell the writer what is allowed, but hardly meant."""
    if terms.warnings is None or terms.subresource:
        return
    if served.resource.custom:
        terms.warnings.extend(finalizer_advice(new["metadata"], old["metadata"] if old else {}))
    else:
        terms.warnings.extend(advice(served.resource.key, new, old))

"""The steps before a write that hold for every kind: names, identity, generation, and the status apart."""

from collections.abc import Callable

from trimtab.local import statuses
from trimtab.local.kinds.served import Served
from trimtab.local.objects import Object
from trimtab.local.resources import Resource

_GENERATED = 5  # characters behind generateName
_NAME_BASE = 58  # so that generated names stay labels
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels and look-alikes: no words, no confusion
_NAME_ATTEMPTS = 8  # as often as a real server draws another name when one is taken
_KEPT_METADATA = ("creationTimestamp", "generation", "generateName", "selfLink")
_KEPT_ONCE_SET = ("uid", "deletionTimestamp", "deletionGracePeriodSeconds")
# Where a real server keeps kinds under another name than their plural.
_STORAGE_NAMES = {"services": "services/specs", "endpoints": "services/endpoints", "nodes": "minions"}


def place(resource: Resource, obj: Object, namespace: str | None) -> None:
    """Put the object into the namespace of the request, in place.

    Raises:
        ApiError: 400 when it says another one, or none is given.
    """
    metadata = obj.setdefault("metadata", {})
    if not resource.namespaced:
        metadata.pop("namespace", None)
        return
    given = metadata.get("namespace")
    if namespace and given and given != namespace:
        raise statuses.other_namespace()
    chosen = namespace or given
    if not chosen:
        raise statuses.bad_request("an empty namespace may not be set during creation")
    metadata["namespace"] = chosen


def generated_name(base: str, unique: str) -> str:
    """`base` and five characters drawn from a unique identifier."""
    number = int.from_bytes(unique.encode(), "big")
    # The identifier's own digits are spread over the alphabet by a multiplicative hash.
    number = (number * 0x9E3779B97F4A7C15 ^ number >> 32) % len(_ALPHABET) ** _GENERATED
    suffix = ""
    for _ in range(_GENERATED):
        number, digit = divmod(number, len(_ALPHABET))
        suffix += _ALPHABET[digit]
    return base[:_NAME_BASE] + suffix


def prepare_new(
    served: Served, new: Object, version: str, ids: Callable[[], str], now: str, taken: Callable[[str], bool]
) -> None:
    """Give a new object its identity and take away what its creator may not set, in place.

    `taken` says whether another object has a name already.
    """
    metadata = new["metadata"]
    if metadata.get("resourceVersion"):
        # A real server calls this its own fault (500).
        raise statuses.ApiError(400, "", "resourceVersion should not be set on objects to be created")
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generated_name(metadata["generateName"], ids())
        for _ in range(_NAME_ATTEMPTS - 1):
            if not taken(metadata["name"]):
                break
            metadata["name"] = generated_name(metadata["generateName"], ids())
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields", "generation"):
        metadata.pop(name, None)
    metadata["uid"] = ids()
    metadata["creationTimestamp"] = now
    if served.resource.generation:
        metadata["generation"] = 1
    if served.has_status(version) and served.resource.custom:
        new.pop("status", None)
    served.rules.create(new)


def check_identity(resource: Resource, metadata: Object, old: Object | None) -> None:
    """Refuse a replacement that is meant for another object of the same name. Raises ApiError 409."""
    uid, known = metadata.get("uid"), "" if old is None else old["metadata"]["uid"]
    if not uid or uid == known:
        return
    place_, name = metadata.get("namespace") or "", metadata.get("name") or ""
    qualified = resource.custom or resource.group == "apiextensions.k8s.io"
    kept = f"{resource.group}/{resource.plural}" if qualified else _STORAGE_NAMES.get(resource.key, resource.plural)
    key = "/".join(part for part in ("/registry", kept, place_, name) if part)
    raise statuses.conflict(
        resource,
        name,
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {uid}, UID in object meta: {known}",
    )


def _keep_identity(new: Object, old: Object) -> None:
    metadata, before = new["metadata"], old["metadata"]
    for field in _KEPT_METADATA:
        if field in before:
            metadata[field] = before[field]
        else:
            metadata.pop(field, None)
    # Another value is not kept from being written in silence: validation refuses it.
    for field in _KEPT_ONCE_SET:
        if field in before and (field == "deletionTimestamp" or not metadata.get(field)):
            metadata[field] = before[field]
    metadata["resourceVersion"] = before["resourceVersion"]
    for field in ("labels", "annotations", "finalizers", "ownerReferences"):
        if field in metadata and not metadata[field]:
            del metadata[field]
    if "managedFields" not in metadata and "managedFields" in before:
        metadata["managedFields"] = before["managedFields"]


def prepare_update(served: Served, new: Object, old: Object, version: str) -> None:
    """Keep of the old object what an update cannot change; count the generation. In place."""
    _keep_identity(new, old)
    if served.has_status(version):
        _take(new, old, "status")
    served.rules.update(new, old)
    if served.resource.generation and _counted(new, served, version) != _counted(old, served, version):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def prepare_status(served: Served, new: Object, old: Object) -> None:
    """Let an update of the status subresource change the status alone, in place."""
    _keep_identity(new, old)
    for name in list({**old, **new}):
        if name not in ("status", "metadata"):
            _take(new, old, name)
    if served.resource.custom:
        entries = new["metadata"].get("managedFields")
        new["metadata"] = dict(old["metadata"])
        if entries:
            new["metadata"]["managedFields"] = entries
    else:
        _take(new["metadata"], old["metadata"], "ownerReferences")
    served.rules.update_status(new, old)


def _take(new: Object, old: Object, name: str) -> None:
    if name in old:
        new[name] = old[name]
    else:
        new.pop(name, None)


def _counted(obj: Object, served: Served, version: str) -> Object:
    """What a change of counts as a new generation."""
    if not served.resource.custom:
        found = {"spec": obj["spec"]} if "spec" in obj else _without(obj, "metadata", "status")
        if served.rules.counts_annotations:
            found["annotations"] = obj["metadata"].get("annotations") or {}
        if served.rules.counts_labels:
            found["labels"] = obj["metadata"].get("labels") or {}
        return found
    return _without(obj, "metadata", *(("status",) if served.has_status(version) else ()))


def _without(obj: Object, *names: str) -> Object:
    return {k: v for k, v in obj.items() if k not in names}

"""The options of a write: dry run, field validation, field manager, force; and those of a deletion."""

from dataclasses import dataclass

from trimtab.local import patching, statuses
from trimtab.local.apiserver.bodies import decode_options
from trimtab.local.apiserver.calls import Call
from trimtab.local.deleting import DeleteOptions
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError

_MANAGER_BYTES = 128
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
_PROPAGATIONS = ("Foreground", "Background", "Orphan")
_GROUP = "meta.k8s.io"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write is to be done.

    Attributes:
        validation: what to do about unknown fields: Strict, Warn or Ignore.
        manager: who writes: what the request says, else the client's name from its User-Agent.
        force: whether an apply takes fields from others.
    """

    dry_run: bool
    validation: str
    manager: str
    force: bool = False


def write_options(call: Call, kind: str, content_type: str = "") -> WriteOptions:
    """The options of a request; `kind` is their name, such as CreateOptions. Raises ApiError 422."""
    query = call.request.query
    applies = content_type == patching.APPLY
    manager, validation = query.get("fieldManager", ""), query.get("fieldValidation", "")
    errors = []
    if kind == "PatchOptions" and not applies and "force" in query:
        errors.append(statuses.forbidden_field("force", "may not be specified for non-apply patch"))
    if applies and not manager:
        errors.append(statuses.required("fieldManager", "is required for apply patch"))
    errors += _manager_errors(manager)
    errors += _dry_run_errors(query.getall("dryRun", []))
    if validation not in _VALIDATIONS:
        errors.append(statuses.unsupported("fieldValidation", quote(validation), [quote(v) for v in _VALIDATIONS]))
    if errors:
        raise statuses.invalid(_GROUP, kind, "", errors)
    return WriteOptions(bool(query.getall("dryRun", [])), validation or "Warn", manager or _client(call), _force(call))


def _manager_errors(manager: str) -> list[FieldError]:
    errors = []
    if len(manager.encode()) > _MANAGER_BYTES:
        errors.append(statuses.too_long("fieldManager", _MANAGER_BYTES))
    for position, character in enumerate(manager):
        if not character.isprintable():
            text = f"invalid character U+{ord(character):04X} (at position {position})"
            errors.append(statuses.invalid_value("fieldManager", quote(manager), text))
    return errors


def _dry_run_errors(values: list[str]) -> list[FieldError]:
    if all(value == "All" for value in values):
        return []
    return [statuses.unsupported("dryRun", quote(values), ['"All"'])]


def _client(call: Call) -> str:
    name = call.request.headers.get("User-Agent", "").partition("/")[0]
    shown = "".join(c for c in name if c.isprintable()).encode()[:_MANAGER_BYTES].decode("utf-8", "ignore")
    return shown or "unknown"


def _force(call: Call) -> bool:
    """An option without a value is true, as on a real server."""
    value = call.request.query.get("force")
    return value is not None and value.lower() not in ("false", "0")


async def delete_options(call: Call) -> tuple[DeleteOptions, bool]:
    """The options of a deletion, from the body or else the query, and whether nothing is to be kept.

    Raises:
        ApiError: 400 for options of a wrong type, 422 for values that there are not.
    """
    sent = decode_options(await call.body(), call.request.headers.get("Content-Type", ""))
    if not sent:
        sent = _from_query(call)
    _check_types(sent)
    propagation, orphans = sent.get("propagationPolicy"), sent.get("orphanDependents")
    errors = []
    if orphans is not None and propagation is not None:
        text = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(statuses.invalid_value("propagationPolicy", quote(propagation), text))
    if propagation is not None and propagation not in _PROPAGATIONS:
        shown = [quote(name) for name in (*_PROPAGATIONS, "nil")]
        errors.append(statuses.unsupported("propagationPolicy", quote(propagation), shown))
    dry_run = [*(sent.get("dryRun") or [])]
    errors += _dry_run_errors(dry_run)
    if errors:
        raise statuses.invalid(_GROUP, "DeleteOptions", "", errors)
    if orphans is not None:
        propagation = "Orphan" if orphans else "Background"
    return DeleteOptions(propagation, sent.get("gracePeriodSeconds"), sent.get("preconditions")), bool(dry_run)


def _from_query(call: Call) -> Object:
    query = call.request.query
    found: Object = {"gracePeriodSeconds": call.number("gracePeriodSeconds")}
    if query.get("propagationPolicy"):
        found["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query:
        found["orphanDependents"] = query["orphanDependents"].lower() not in ("false", "0")
    found["dryRun"] = query.getall("dryRun", [])
    return found


def _check_types(sent: Object) -> None:
    types = {
        "gracePeriodSeconds": (int, "int64"),
        "propagationPolicy": (str, "v1.DeletionPropagation"),
        "orphanDependents": (bool, "bool"),
        "dryRun": (list, "[]string"),
        "preconditions": (dict, "v1.Preconditions"),
    }
    for name, (wanted, go_type) in types.items():
        value = sent.get(name)
        mistaken = isinstance(value, bool) and wanted is int
        if value is not None and (mistaken or not isinstance(value, wanted)):
            raise statuses.bad_request(
                f"json: cannot unmarshal into Go struct field DeleteOptions.{name} of type {go_type}"
            )

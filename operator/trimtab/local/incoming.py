"""Reading what a writer sends: the kind's own rules for fields, and what an apply is about."""

import copy
from dataclasses import dataclass
from typing import Any

from trimtab.local import statuses
from trimtab.local.kinds.served import Served
from trimtab.local.managed import Manager
from trimtab.local.objects import Object, quote
from trimtab.local.resources import group_version
from trimtab.local.schema.decoding import Undecodable
from trimtab.local.statuses import ApiError


@dataclass(frozen=True, slots=True)
class Terms:
    """How a write is to be done.

    Attributes:
        version: the API version that the writer speaks.
        manager: who writes, as managedFields note it.
        dry_run: whether nothing is kept.
        validation: what to do about unknown fields: Strict, Warn or Ignore.
        warnings: where warnings go, if the writer takes any.
    """

    version: str
    manager: Manager
    dry_run: bool = False
    validation: str = "Ignore"
    warnings: list[str] | None = None

    @property
    def subresource(self) -> str:
        return self.manager.subresource


def presented(served: Served, obj: Object, version: str | None) -> Object:
    """A stored object as a client of that version sees it."""
    resource = served.resource
    if version is None or version == resource.version:
        return obj
    out = copy.deepcopy({**obj, "apiVersion": group_version(resource.group, version)})
    served.revive(out, version)
    return out


def decoded(served: Served, obj: Object, terms: Terms) -> Object:
    """An object as its kind allows it; the argument stays as it is. Raises ApiError 400."""
    kind = served.resource.kind
    try:
        found = served.decode(copy.deepcopy(obj), terms.version)
    except Undecodable as error:
        raise statuses.bad_request(
            f'{kind} in version "{terms.version}" cannot be handled as a {kind}: {error}'
        ) from None
    refuse_unknown(kind, found.unknown, terms)
    return found.object


def decoded_patch(served: Served, obj: Object, name: str, terms: Terms) -> Object:
    """What a patch made of an object; a wrong type is the patch's fault. Raises ApiError 400, 422."""
    try:
        found = served.decode(copy.deepcopy(obj), terms.version)
    except Undecodable as error:
        cause = statuses.invalid_value("patch", quote(quote(obj)), str(error))
        raise ApiError(422, "Invalid", f' "" is invalid: {cause}', {"causes": [cause.cause()]}) from None
    refuse_unknown(served.resource.kind, found.unknown, terms)
    _check_name(found.object, name)
    return found.object


def applied_config(served: Served, name: str, patch: Any, terms: Terms) -> Object:
    """What a manager applies, reduced to the part it may apply to. Raises ApiError 400."""
    given = patch if isinstance(patch, dict) else {}
    if not given.get("apiVersion") or not given.get("kind"):
        shown = f"{given.get('apiVersion') or '/'}, Kind={given.get('kind', '')}"
        raise statuses.bad_request(f"invalid object type: {shown}")
    config = {**given, "metadata": {"name": name, **(given.get("metadata") or {})}}
    if config["metadata"].get("managedFields"):
        raise statuses.bad_request("metadata.managedFields must be nil")
    _check_name(config, name)
    config = decoded(served, config, terms)
    if terms.subresource == "status":
        config = {k: v for k, v in config.items() if k in ("apiVersion", "kind", "metadata", "status")}
        config["metadata"] = {"name": name}
    elif served.has_status(terms.version):
        config.pop("status", None)
    return config


def _check_name(obj: Object, name: str) -> None:
    given = obj["metadata"].get("name")
    if given != name:
        raise statuses.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def refuse_unknown(kind: str, unknown: list[str], terms: Terms) -> None:
    """Treat fields that the kind does not have as the writer asked. Raises ApiError 400 under Strict."""
    if not unknown:
        return
    shown = [f'unknown field "{path}"' for path in sorted(unknown)]
    if terms.validation == "Strict":
        raise statuses.bad_request(
            f'{kind} in version "{terms.version}" cannot be handled as a {kind}: '
            f"strict decoding error: {', '.join(shown)}"
        )
    if terms.validation == "Warn" and terms.warnings is not None:
        terms.warnings.extend(shown)

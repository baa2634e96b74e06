"""Reading what a writer sends: the kind's own rules for fields, and what an apply is about."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab.local import statuses
from trimtab.local.kinds.served import Served
from trimtab.local.managed import Manager
from trimtab.local.objects import Object, quote
from trimtab.local.schema.decoding import Undecodable
from trimtab.local.schema.typing import type_problems
from trimtab.local.statuses import ApiError

Check = Callable[[Object, Object | None], None]

_METADATA_ORDER = ("name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp")


@dataclass(frozen=True, slots=True)
class Terms:
    """How a write is to be done.

    Attributes:
        version: the API version that the writer speaks.
        manager: who writes, as managedFields note it.
        dry_run: whether nothing is kept.
        validation: what to do about unknown fields: Strict, Warn or Ignore.
        warnings: where warnings go, if the writer takes any.
        complaints: what is wrong with the text that was sent, such as fields that occur twice.
        check: called with the new state and the present one (None: to be created); raises ApiError
            where the writer may not make this of it.
    """

    version: str
    manager: Manager
    dry_run: bool = False
    validation: str = "Ignore"
    warnings: list[str] | None = None
    complaints: Sequence[str] = ()
    check: Check | None = None

    @property
    def subresource(self) -> str:
        return self.manager.subresource


def presented(served: Served, obj: Object, version: str | None) -> Object:
    """A stored object as a client of that version sees it."""
    resource = served.resource
    if version is None or version == resource.version:
        return obj
    return served.converted(obj, version)


def decoded(served: Served, obj: Object, terms: Terms) -> Object:
    """An object as its kind allows it; the argument stays as it is. Raises ApiError 400."""
    given = obj.get("kind") or served.resource.kind
    version = str(obj.get("apiVersion") or terms.version).rpartition("/")[2]
    unfit = f'{given} in version "{version}" cannot be handled as a {served.resource.kind}'
    try:
        found = served.decode({**obj}, terms.version)
    except Undecodable as error:
        raise statuses.bad_request(f"{unfit}: {error}") from None
    if complaints := _strict_complaints(_ordered(served, found.unknown), terms):
        raise statuses.bad_request(f"{unfit}: strict decoding error: {', '.join(complaints)}")
    return found.object


def decoded_patch(served: Served, obj: Object, name: str, shown: Callable[[], str], terms: Terms) -> Object:
    """What a patch made of an object; a wrong type is the patch's fault, and its refusal quotes `shown`.

    Raises:
        ApiError: 422 for a patch that makes no object, 400 for another name.
    """
    try:
        found = served.decode({**obj}, terms.version)
    except Undecodable as error:
        raise _bad_patch(shown(), str(error)) from None
    if complaints := _strict_complaints(_ordered(served, found.unknown), terms):
        raise _bad_patch(shown(), f"strict decoding error: {', '.join(complaints)}")
    check_name(found.object, name)
    return found.object


def _bad_patch(shown: str, problem: str) -> ApiError:
    cause = statuses.invalid_value("patch", quote(shown), problem)
    return ApiError(422, "Invalid", f' "" is invalid: {cause}', {"causes": [cause.cause()]})


def patched_text(obj: Object) -> str:
    """An object as the refusal of a patch quotes it: the fields that a patch can reach are in order."""
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        first = {name: metadata[name] for name in _METADATA_ORDER if name in metadata}
        obj = {**obj, "metadata": {**first, **{k: v for k, v in metadata.items() if k not in first}}}
    text = json.dumps({name: obj[name] for name in sorted(obj)}, separators=(",", ":"), ensure_ascii=False)
    # The way Go's encoder writes what could be read as markup.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def applied_config(served: Served, name: str, patch: Any, terms: Terms) -> Object:
    """What a manager applies, reduced to the part it may apply to.

    Raises:
        ApiError: 400 for another kind or name, and, where a real server calls it its own fault (500), for fields or
            types that the kind has not.
    """
    given = patch if isinstance(patch, dict) else {}
    group, _, version = str(given.get("apiVersion") or "").rpartition("/")
    expected = (served.resource.group, terms.version, served.resource.kind)
    if (group, version, given.get("kind", "")) != expected:
        raise statuses.bad_request(f"invalid object type: {group}/{version}, Kind={given.get('kind', '')}")
    metadata = given.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields"):
        raise statuses.bad_request("metadata.managedFields must be nil")
    if problems := type_problems(given, served.schema(terms.version)):
        raise _untyped(given, f"{group}/{version}", problems)
    config = {**given, "metadata": {**(metadata or {})}}
    if config["metadata"].get("name"):
        check_name(config, name)
    config = decoded(served, config, terms)
    if terms.subresource == "status":
        config = {k: v for k, v in config.items() if k in ("apiVersion", "kind", "metadata", "status")}
        config["metadata"] = {"name": name}
    elif served.has_status(terms.version):
        config.pop("status", None)
    return config


def _untyped(given: Object, api_version: str, problems: list[str]) -> ApiError:
    metadata = given.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    about = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}; {api_version}, Kind={given['kind']}"
    listed = problems[0] if len(problems) == 1 else "errors:" + "".join(f"\n  {p}" for p in problems)
    return ApiError(400, "", f"failed to create typed patch object ({about}): {listed}")


def check_name(obj: Object, name: str) -> None:
    """Refuse an object under another name than the one in the URL. Raises ApiError 400."""
    given = (obj.get("metadata") or {}).get("name")
    if not given:
        raise statuses.bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    if given != name:
        raise statuses.bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def _ordered(served: Served, unknown: list[str]) -> list[str]:
    """Unknown fields of a custom resource are found by pruning, which sorts them; else they come as they were sent."""
    return sorted(unknown) if served.resource.custom else unknown


def _strict_complaints(unknown: Sequence[str], terms: Terms) -> list[str]:
    """What a strict writer is refused for; a writer who wants warnings gets them, and nothing is left."""
    if terms.validation == "Ignore":
        return []
    found = [*terms.complaints, *(f'unknown field "{path}"' for path in unknown)]
    if terms.validation == "Strict":
        return found
    if terms.warnings is not None:
        for complaint in found:
            terms.warnings.extend(_lines(complaint))
    return []


def _lines(complaint: str) -> list[str]:
    """A YAML complaint says several things in lines below a title; a header has room for one."""
    title, *lines = complaint.split("\n")
    return [line.strip() for line in lines] if title.startswith("yaml: unmarshal errors") else [complaint]

"""What the query of a list or a watch asks for, and which combinations are refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.local import statuses
from trimtab.local.objects import quote
from trimtab.local.statuses import ApiError, FieldError, bad_request

EXACT = "Exact"
NOT_OLDER = "NotOlderThan"
_FALSE = ("0", "false")
_LARGEST = {"ParseInt": 1 << 63, "ParseUint": 1 << 64}
_NUMBER = {"ParseInt": re.compile(r"[+-]?[0-9]+"), "ParseUint": re.compile(r"[0-9]+")}
_MATCH = "resourceVersionMatch"
_AMOUNT = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_UNIT = re.compile(r"[^0-9.]*")
_DURATION = re.compile(rf"[+-]?(({_AMOUNT.pattern})(ns|us|µs|ms|s|m|h))+")


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The query of a list or watch, read.

    Attributes:
        initial: `sendInitialEvents`; None where it is not given.
        timeout_s: `timeoutSeconds`; None where it is not given.
        limit: `limit`; 0 asks for everything.
        token: `continue`.
    """

    watch: bool = False
    labels: str = ""
    fields: str = ""
    version: str = ""
    match: str = ""
    limit: int = 0
    token: str = ""
    timeout_s: int | None = None
    bookmarks: bool = False
    initial: bool | None = None

    @property
    def selects(self) -> bool:
        return bool(self.labels or self.fields)


def list_options(query: Mapping[str, str], *, watch: bool = False) -> ListOptions:
    """The options of a request; `watch` where its path asks for one.

    Raises:
        ApiError: 400 for what is no number, 422 for options that do not go together.
    """
    found = ListOptions(
        watch=watch or is_set(query, "watch"),
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        version=query.get("resourceVersion", ""),
        match=query.get(_MATCH, ""),
        limit=number(query["limit"]) if "limit" in query else 0,
        token=query.get("continue", ""),
        timeout_s=number(query["timeoutSeconds"]) if "timeoutSeconds" in query else None,
        bookmarks=is_set(query, "allowWatchBookmarks"),
        initial=is_set(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    if errors := (_watch_errors if is_set(query, "watch") else _list_errors)(found):
        raise statuses.invalid("meta.k8s.io", "ListOptions", "", errors)
    return found


def is_set(query: Mapping[str, str], name: str) -> bool:
    """A flag is set by anything but 0 and false, and by being there at all."""
    return name in query and query[name].lower() not in _FALSE


def number(text: str) -> int:
    """A signed 64-bit number. Raises ApiError 400."""
    if problem := _number_problem(text, "ParseInt"):
        raise bad_request(problem)
    return int(text)


def version_number(text: str, *, fault: int = 400) -> int:
    """A resourceVersion; 0 where there is none.

    Raises:
        ApiError: 400, with nothing but a message. A real server calls it its own fault (500), as one does that was
            recorded for watches.
    """
    if not text:
        return 0
    if problem := _number_problem(text, "ParseUint"):
        raise ApiError(fault, "", f'resourceVersion: Invalid value: "{text}": {problem}')
    return int(text)


def _number_problem(text: str, parser: str) -> str:
    if not _NUMBER[parser].fullmatch(text):
        return f"strconv.{parser}: parsing {quote(text)}: invalid syntax"
    if not -_LARGEST[parser] <= int(text) < _LARGEST[parser]:
        return f"strconv.{parser}: parsing {quote(text)}: value out of range"
    return ""


def check_timeout(text: str) -> None:
    """Refuse a `timeout` that is no duration as Go writes them: 30s, 1m30s. Raises ApiError 400."""
    if text in ("", "0") or _DURATION.fullmatch(text):
        return
    problem = f"invalid duration {quote(text)}"
    if (number := _AMOUNT.match(text.lstrip("+-"))) is not None:
        unit = _UNIT.match(text.lstrip("+-"), number.end())
        shown = unit.group() if unit else ""
        problem = f"unknown unit {quote(shown)} in duration {quote(text)}"
        if not shown:
            problem = f"missing unit in duration {quote(text)}"
    raise bad_request(f"invalid timeout specified in the request URL - time: {problem}")


def _forbidden(field: str, text: str) -> FieldError:
    return statuses.forbidden_field(field, text)


def _list_errors(options: ListOptions) -> list[FieldError]:
    errors = []
    if match := options.match:
        if not options.version:
            errors.append(_forbidden(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided"))
        if options.token:
            errors.append(_forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided"))
        if match not in (EXACT, NOT_OLDER):
            supported = (f'"{EXACT}"', f'"{NOT_OLDER}"', '""')
            errors.append(statuses.unsupported(_MATCH, quote(match), supported))
        if match == EXACT and options.version == "0":
            errors.append(_forbidden(_MATCH, f'{_MATCH} "exact" is forbidden for resourceVersion "0"'))
    if options.initial is not None:
        errors.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return errors


def _watch_errors(options: ListOptions) -> list[FieldError]:
    errors = []
    if options.initial is not None and options.match != NOT_OLDER:
        errors.append(_forbidden(_MATCH, f"sendInitialEvents requires setting {_MATCH} to {NOT_OLDER}"))
    if options.match:
        if options.initial is None:
            text = f"{_MATCH} is forbidden for watch unless sendInitialEvents is provided"
            errors.append(_forbidden(_MATCH, text))
        if options.match != NOT_OLDER:
            errors.append(statuses.unsupported(_MATCH, quote(options.match), (f'"{NOT_OLDER}"',)))
        if options.token:
            errors.append(_forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided"))
    return errors

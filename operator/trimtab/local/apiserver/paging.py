"""Lists in pieces: limit and continue, and what resourceVersion asks of a list."""

import base64
import binascii
import json
from dataclasses import dataclass

from trimtab.local.objects import Object, key_of
from trimtab.local.statuses import bad_request, too_large_version


@dataclass(frozen=True, slots=True)
class Page:
    """One piece of a list; `token` continues it and is empty at the end."""

    items: list[Object]
    token: str
    remaining: int


def page_of(items: list[Object], limit: int | None, token: str) -> Page:
    """The piece of `items` (ordered by namespace and name) that was asked for.

    Raises:
        ApiError: 400 for a token that is none.
    """
    if token:
        after = _read_token(token)
        items = [obj for obj in items if key_of(obj) > after]
    if not limit or limit < 0 or len(items) <= limit:
        return Page(items, "", 0)
    piece = items[:limit]
    return Page(piece, _token(key_of(piece[-1])), len(items) - limit)


def _token(key: tuple[str, str]) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "start": list(key)})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[str, str]:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raise bad_request("invalid continue token: continue key is not valid: illegal base64 data") from None
    try:
        namespace, name = json.loads(raw)["start"]
    except (ValueError, KeyError, TypeError):
        first = raw[:1]
        shown = first.decode("latin-1") if first.isascii() else f"\\x{first.hex()}"
        raise bad_request(
            "invalid continue token: continue key is not valid: "
            f"invalid character '{shown}' looking for beginning of value"
        ) from None
    return namespace, name


def check_list_version(text: str, match: str, current: int) -> None:
    """Refuse a version that is no number or that has not happened yet. Raises ApiError 400, 504."""
    if not text:
        return
    if not text.isdigit():
        raise bad_request(f"invalid resource version: {unparsable_version(text)}")
    if match in ("Exact", "NotOlderThan", "") and int(text) > current:
        raise too_large_version(int(text), current)


def unparsable_version(text: str) -> str:
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'

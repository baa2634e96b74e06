"""Lists in pieces: which version a list is of, where it goes on, and the tokens that say so."""

import base64
import json
import posixpath
import re
from dataclasses import dataclass

from trimtab.local.apiserver.listoptions import EXACT, ListOptions, version_number
from trimtab.local.objects import quote
from trimtab.local.statuses import ApiError, bad_request, too_large_version

_API = "meta.k8s.io/v1"
_LATEST = -1  # what a token carries that goes on with the list of today


@dataclass(frozen=True, slots=True)
class Start:
    """Where a list begins.

    Attributes:
        at: the resourceVersion it is of; None for the newest.
        key: the first key it may show; empty for all.
        limit: how many objects it may show; 0 for all.
    """

    at: int | None
    key: str
    limit: int


def start_of(options: ListOptions, current: int) -> Start:
    """What version a list is of, and where it begins; `current` is the newest version.

    Raises:
        ApiError: 400 for a version that is no number or a token that is none, 504 for a version still to come.
    """
    limit = max(options.limit, 0)
    if options.token:
        key, version = read_token(options.token)
        if options.version not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        return Start(_reached(version, current) if version > 0 else None, key, limit)
    try:
        version = version_number(options.version)
    except ApiError as error:
        raise bad_request(f"invalid resource version: {error.message}") from None
    _reached(version, current)
    exact = options.match == EXACT or (not options.match and limit > 0 and version > 0)
    # From the cache that answers version 0 a real server sends everything, whatever the limit.
    return Start(version if exact else None, "", 0 if options.version == "0" else limit)


def _reached(version: int, current: int) -> int:
    if version > current:
        raise too_large_version(version, current)
    return version


def token_of(key: str, version: int | None) -> str:
    """The token for a list that goes on at `key`, at the version that its beginning was of."""
    text = json.dumps({"v": _API, "rv": _LATEST if version is None else version, "start": key}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str) -> tuple[str, int]:
    """Key and version of a token. Raises ApiError 400."""
    read = _json(_decoded(token))
    if not isinstance(read, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(read), "number")
        raise _no_token(f"json: cannot unmarshal {kind} into Go value of type storage.continueToken")
    version, key = read.get("rv") or 0, read.get("start") or ""
    if read.get("v", "") != _API:
        raise _no_token(f"server does not recognize this encoded version {quote(read.get('v', ''))}")
    if not isinstance(version, int) or version == 0:
        raise _no_token(f"incorrect encoded start resourceVersion (version {_API})")
    if not isinstance(key, str) or not key:
        raise _no_token(f"encoded start key empty (version {_API})")
    rooted = key if key.startswith("/") else f"/{key}"
    if posixpath.normpath(rooted) != rooted or rooted.startswith("//"):
        raise _no_token(key)
    return key, version


def _no_token(why: str) -> ApiError:
    return bad_request(f"invalid continue token: continue key is not valid: {why}")


def _decoded(token: str) -> bytes:
    wrong = re.search(r"[^A-Za-z0-9_-]", token)
    if wrong or len(token) % 4 == 1:
        at = wrong.start() if wrong else len(token)
        raise _no_token(f"illegal base64 data at input byte {at}")
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def _json(raw: bytes) -> object:
    try:
        found: object = json.loads(raw)
    except json.JSONDecodeError as error:
        # Go's decoder stops where Python's does and calls it so.
        if error.pos >= len(raw):
            raise _no_token("unexpected end of JSON input") from None
        raise _no_token(_unexpected(raw, error.pos)) from None
    except UnicodeDecodeError:
        raise _no_token(_unexpected(raw, 0)) from None
    return {} if found is None else found


def _unexpected(raw: bytes, at: int) -> str:
    first = raw[at : at + 4].decode("utf-8", "ignore")[:1]
    if not first or not raw[at : at + 4].startswith(first.encode()):
        shown = f"\\x{raw[at]:02x}"
    else:
        shown = first if first.isprintable() and first not in "'\\" else repr(first).strip("'\"")
    return f"invalid character '{shown}' looking for beginning of value"

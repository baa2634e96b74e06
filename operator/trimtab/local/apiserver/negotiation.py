"""In which form and format a client takes an answer: what its Accept header asks for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from trimtab.local.statuses import ApiError

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
OFFERED = (JSON, YAML, PROTOBUF)
STREAMED = (JSON, PROTOBUF)

TABLE = "Table"
METADATA = "PartialObjectMetadata"
METADATA_LIST = "PartialObjectMetadataList"

_META = "meta.k8s.io"
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_READERS = ("curl", "Wget", "Mozilla/5.0")  # clients behind which a person reads


@dataclass(frozen=True, slots=True)
class Form:
    """What is sent: "" for the object itself, else Table, PartialObjectMetadata or its list.

    Attributes:
        version: the version of meta.k8s.io that it is in.
    """

    name: str = ""
    version: str = "v1"

    @property
    def api_version(self) -> str:
        return f"{_META}/{self.version}"


@dataclass(frozen=True, slots=True)
class _Clause:
    media: str
    parameters: dict[str, str]

    @property
    def rank(self) -> tuple[float, bool, bool]:
        """Order of preference: the client's own weight, then the more special."""
        try:
            weight = float(self.parameters.get("q", "1"))
        except ValueError:
            weight = 1.0
        kind, _, subtype = self.media.partition("/")
        return -weight, kind == "*", subtype == "*"

    def covers(self, media: str) -> bool:
        kind, _, subtype = media.partition("/")
        own_kind, _, own_subtype = self.media.partition("/")
        return own_kind in ("*", kind) and own_subtype in ("*", subtype)


@lru_cache(256)  # a client sends the same header with every request
def negotiated(accept: str, *, custom: bool, listed: bool) -> Form:
    """The first form of the header that can be served.

    `custom`: whether the answer is about custom resources, which are not sent as protobuf.
    `listed`: whether the request is for a list, which a watch could be sent for as well.

    Raises:
        ApiError: 406 when there is none.
    """
    if not accept.strip():
        return Form()
    clauses = sorted(_clauses(accept), key=lambda clause: clause.rank)
    if not custom and not any(clause.media in (*OFFERED, "*/*") for clause in clauses):
        raise _none_routed(listed)
    for clause in clauses:
        for media in OFFERED:
            if (form := _served(clause, media, custom=custom)) is not None:
                return form
    raise not_acceptable(OFFERED)


def negotiated_stream(accept: str, *, custom: bool) -> str:
    """The format of a watch. Raises ApiError 406."""
    if not accept.strip():
        return JSON
    clauses = sorted(_clauses(accept), key=lambda clause: clause.rank)
    found = [m for clause in clauses for m in STREAMED if _served(clause, m, custom=custom) is not None]
    if not found:
        raise not_acceptable([f"{media};stream=watch" for media in STREAMED])
    return JSON if JSON in found else found[0]


def format_of(accept: str) -> str:
    """The format that any answer, a refusal too, is sent in; JSON where nothing else fits."""
    if YAML not in accept and PROTOBUF not in accept:
        return JSON
    clauses = sorted(_clauses(accept), key=lambda clause: clause.rank)
    found = [media for clause in clauses for media in OFFERED if clause.covers(media)]
    return JSON if not found or JSON in found else found[0]


def is_pretty(accept: str, asked: str | None, agent: str) -> bool:
    """Whether JSON is to be indented: asked for, or a person is reading."""
    if asked:
        return asked in _TRUE
    return "pretty=1" in accept or agent.startswith(_READERS)


def _clauses(accept: str) -> Iterator[_Clause]:
    for part in accept.split(","):
        media, *parameters = [piece.strip() for piece in part.split(";")]
        if media == "*":
            media = "*/*"
        yield _Clause(media, dict(p.split("=", 1) for p in parameters if "=" in p))


def _served(clause: _Clause, media: str, *, custom: bool) -> Form | None:
    """The form that one clause asks for, if it can be sent in that format."""
    if not clause.covers(media) or clause.parameters.get("stream", "watch") != "watch":
        return None
    asked = [clause.parameters.get(name, "") for name in ("as", "g", "v")]
    if not any(asked):
        return None if custom and media == PROTOBUF else Form()
    name, group, version = asked
    if group != _META or version not in ("v1", "v1beta1"):
        return None
    if name == TABLE:
        return None if media == PROTOBUF else Form(name, version)
    return Form(name, version) if name in (METADATA, METADATA_LIST) else None


def not_acceptable(media: Sequence[str]) -> ApiError:
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(media)}")


def _none_routed(listed: bool) -> ApiError:
    """The refusal of built-in kinds, which name what they have in another way than custom ones."""
    offered = [*OFFERED, *(f"{media};stream=watch" for media in STREAMED)] if listed else OFFERED
    text = f"406: Not Acceptable\n\nAvailable representations: {', '.join(offered)}"
    return ApiError(406, "NotAcceptable", text, {})

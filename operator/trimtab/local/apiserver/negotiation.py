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
class Format:
    """How an answer is written."""

    form: Form = Form()
    media: str = JSON
    pretty: bool = False


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
def negotiated(accept: str, *, custom: bool, listed: bool) -> Format:
    """The first form of the header that can be served, in JSON wherever the client takes it.

    `custom`: whether the answer is about custom resources, which are not sent as protobuf.
    `listed`: whether the request is for a list, which a watch could be sent for as well.

    Raises:
        ApiError: 406 when there is none.
    """
    if not accept.strip():
        return Format()
    clauses = sorted(_clauses(accept), key=lambda clause: clause.rank)
    if not custom and not any(clause.media in (*OFFERED, "*/*") for clause in clauses):
        raise _none_routed(listed)
    found = [f for clause in clauses for media in OFFERED if (f := _served(clause, media, custom=custom)) is not None]
    if not found:
        raise not_acceptable(OFFERED)
    return next((f for f in found if f.media == JSON and f.form == found[0].form), found[0])


def negotiated_stream(accept: str, *, custom: bool) -> str:
    """The format of a watch. Raises ApiError 406."""
    if not accept.strip():
        return JSON
    clauses = sorted(_clauses(accept), key=lambda clause: clause.rank)
    found = [
        media
        for clause in clauses
        for media in STREAMED
        if (chosen := _served(clause, media, custom=custom)) is not None and chosen.media == media
    ]
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


def _served(clause: _Clause, media: str, *, custom: bool) -> Format | None:
    """The answer to one clause in one format; None where there is none."""
    if not clause.covers(media) or clause.parameters.get("stream", "watch") != "watch":
        return None
    pretty = clause.parameters.get("pretty") == "1"
    asked = [clause.parameters.get(name, "") for name in ("as", "g", "v")]
    if not any(asked):
        return None if custom and media == PROTOBUF else Format(Form(), media, pretty)
    name, group, version = asked
    if group != _META or version not in ("v1", "v1beta1"):
        return None
    if name == TABLE:
        return None if media == PROTOBUF else Format(Form(name, version), media, pretty)
    return Format(Form(name, version), media, pretty) if name in (METADATA, METADATA_LIST) else None


def not_acceptable(media: Sequence[str]) -> ApiError:
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(media)}")


def _none_routed(listed: bool) -> ApiError:
    """The refusal of built-in kinds, which name what they have in another way than custom ones."""
    offered = [*OFFERED, *(f"{media};stream=watch" for media in STREAMED)] if listed else OFFERED
    text = f"406: Not Acceptable\n\nAvailable representations: {', '.join(offered)}"
    return ApiError(406, "NotAcceptable", text, {})

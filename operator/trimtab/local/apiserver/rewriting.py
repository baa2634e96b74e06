"""Answers for those who do not take compact JSON: YAML, protobuf, and indented JSON for people."""

import json
from typing import Any

import yaml
from aiohttp import web

from trimtab.local.apiserver.negotiation import JSON, PROTOBUF, YAML, format_of, is_pretty
from trimtab.local.apiserver.protobuf import encode_protobuf

_UNFOLDED = 1 << 30  # columns: lines are never folded


def rewritten(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """The answer in the format that the client asks for; streams, documents and texts stay as they are."""
    if not isinstance(response, web.Response) or response.prepared or response.content_type != JSON:
        return response
    accept, agent = request.headers.get("Accept", ""), request.headers.get("User-Agent", "")
    pretty = is_pretty(accept, request.query.get("pretty"), agent)
    media = format_of(accept)
    if (media == JSON and not pretty) or not isinstance(response.body, bytes) or "ETag" in response.headers:
        return response
    value = json.loads(response.body)
    if media == YAML:
        response.body = _yaml(value)
        response.content_type = YAML
    elif media == PROTOBUF:
        if (encoded := encode_protobuf(value)) is not None:
            response.body, response.content_type = encoded, PROTOBUF
    else:
        response.body = json.dumps(value, indent=2, ensure_ascii=False).encode()
    return response


def _yaml(value: Any) -> bytes:
    return yaml.dump(value, Dumper=_Dumper, allow_unicode=True, default_flow_style=False, width=_UNFOLDED).encode()


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """The safe dumper, in the style of Kubernetes: nothing by reference, texts that look like values in quotes."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def text(self, value: str) -> Any:
        if "\n" in value:
            style = "|"
        elif self.resolve(yaml.ScalarNode, value, (True, False)) != _TEXT:
            style = '"'
        else:
            style = None
        return self.represent_scalar(_TEXT, value, style=style)


_TEXT = "tag:yaml.org,2002:str"
_Dumper.add_representer(str, _Dumper.text)

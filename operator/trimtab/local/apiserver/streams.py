"""GET pods/NAME/log: an answer that may go on."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from trimtab.local import pods, statuses
from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.connecting.targets import chosen_container
from trimtab.local.statuses import ApiError, FieldError, invalid_value
from trimtab.local.times import parse_stamp

_LEAST = {"tailLines": 0, "limitBytes": 1, "sinceSeconds": 1}
_TOO_SMALL = {0: "must be greater than or equal to 0", 1: "must be greater than 0"}


async def logs(call: Call) -> web.StreamResponse:
    """What a container wrote, and, with follow, goes on writing.

    Raises:
        ApiError: 400 where there is no log, 422 for options that make no sense.
    """
    pod = call.registry.get("pods", call.target.name, call.namespace)
    options = _options(call)
    container = chosen_container(pod, call.option("container"))
    if pods.node_name(pod) is None:
        return web.Response(status=204)
    if call.registry.pod_logs is None:
        raise ApiError(503, "ServiceUnavailable", "no node agent serves logs yet; try again in a moment", {})
    lines = call.registry.pod_logs(call.target.namespace, call.target.name, container, **options)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    iterator = aiter(lines)
    try:
        await response.prepare(call.request)
        with suppress(ConnectionError, RuntimeError):  # the client went away
            async for piece in iterator:
                await response.write(piece)
            await response.write_eof()
    finally:
        if (close := getattr(iterator, "aclose", None)) is not None:
            await close()
    return response


def _options(call: Call) -> dict[str, Any]:
    numbers = {name: call.number(name) for name in _LEAST}
    errors = _wrong_options(numbers, call.option("sinceTime"))
    if errors:
        raise statuses.invalid("", "PodLogOptions", call.target.name, errors)
    options: dict[str, Any] = {
        "follow": call.flag("follow"),
        "tail_lines": numbers["tailLines"],
        "previous": call.flag("previous"),
        "timestamps": call.flag("timestamps"),
        "since_seconds": numbers["sinceSeconds"],
        "limit_bytes": numbers["limitBytes"],
    }
    if text := call.option("sinceTime"):
        options["since_time"] = _instant(text)
    return options


def _wrong_options(numbers: dict[str, int | None], since_time: str) -> list[FieldError]:
    errors = [
        invalid_value(name, str(number), _TOO_SMALL[_LEAST[name]])
        for name, number in numbers.items()
        if number is not None and number < _LEAST[name]
    ]
    if since_time and numbers["sinceSeconds"] is not None:
        errors.append(statuses.forbidden_field("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    return errors


def _instant(text: str) -> datetime:
    try:
        found = parse_stamp(text)
    except ValueError:
        words = f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"'
        raise statuses.bad_request(words) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)

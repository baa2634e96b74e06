"""Answers that go on: container logs."""

from aiohttp import web

from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.encoding import json_response
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError, bad_request


async def logs(call: Call) -> web.StreamResponse:
    """GET pods/NAME/log: what a container wrote, and, with follow, goes on writing."""
    if call.registry.pod_logs is None:
        raise ApiError(503, "ServiceUnavailable", "no node agent serves logs yet; try again in a moment", {})
    pod = call.registry.get("pods", call.target.name, call.namespace)
    container = _container(call, pod)
    lines = call.registry.pod_logs(
        call.target.namespace,
        call.target.name,
        container,
        follow=call.flag("follow"),
        tail_lines=call.number("tailLines"),
        previous=call.flag("previous"),
        timestamps=call.flag("timestamps"),
        since_seconds=call.number("sinceSeconds"),
        limit_bytes=call.number("limitBytes"),
    )
    iterator = aiter(lines)
    try:
        first = await anext(iterator, b"")
    except ApiError as error:
        return json_response(error.to_status(), error.status)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    try:
        await response.write(first)
        async for piece in iterator:
            await response.write(piece)
        await response.write_eof()
    except (ConnectionError, RuntimeError):
        pass  # the client went away
    finally:
        if (close := getattr(iterator, "aclose", None)) is not None:
            await close()
    return response


def _container(call: Call, pod: Object) -> str:
    """The container that is meant; a pod with several needs it said. Raises ApiError 400."""
    spec, name = pod["spec"], call.target.name
    names = [c["name"] for c in spec["containers"]]
    known = [*names, *(c["name"] for c in spec.get("initContainers") or [])]
    wanted = call.option("container")
    if wanted:
        if wanted not in known:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(names) > 1:
        listed = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{listed}]")
    only: str = names[0]
    return only

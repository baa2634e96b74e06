"""GET pods/NAME/exec and pods/NAME/attach: a client's terminal, connected to a process."""

from __future__ import annotations

import asyncio
import json

import structlog
from aiohttp import web

from trimtab.local.apiserver.calls import Call
from trimtab.local.apiserver.connecting.channels import SUBPROTOCOLS, Channels, WebSocketChannels, opened_socket
from trimtab.local.apiserver.connecting.streamchannels import PROTOCOLS, StreamChannels
from trimtab.local.apiserver.connecting.targets import called_pod, chosen_container, way_to
from trimtab.local.apiserver.connecting.upgrades import (
    UpgradedPipe,
    is_websocket,
    negotiated,
    offered,
    required_upgrade,
)
from trimtab.local.entering import NotRunnableError, PodAccess, Session, Streams
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError, bad_request

log = structlog.get_logger(__name__)


async def command(call: Call) -> web.StreamResponse:
    """Run a command, or attach to a container, until the process or the client ends.

    Raises:
        ApiError: The request names no container that could be entered.
    """
    pod = called_pod(call)
    container = chosen_container(pod, call.option("container"))
    access = way_to(call, pod)
    required_upgrade(call)
    streams = _streams(call)
    if not is_websocket(call):
        return await _over_spdy(call, access, container, streams)
    socket = await opened_socket(call, *offered(call, SUBPROTOCOLS))
    channels = WebSocketChannels(socket)
    if streams.stdout or streams.stderr:
        # Nothing yet; a client learns from it that it is connected.
        await channels.send("stdout" if streams.stdout else "stderr", b"")
    await converse(call, access, container, streams, channels)
    return socket


async def _over_spdy(call: Call, access: PodAccess, container: str, streams: Streams) -> web.StreamResponse:
    pipe = UpgradedPipe("SPDY/3.1", {"X-Stream-Protocol-Version": negotiated(call, PROTOCOLS)})
    await pipe.prepare(call.request)
    channels = StreamChannels(pipe, streams)
    try:
        await channels.open()
        await converse(call, access, container, streams, channels)
    except ConnectionError as error:
        log.debug("session.not_opened", pod=call.target.name, error=str(error))
    finally:
        await channels.close()
    return pipe


def _streams(call: Call) -> Streams:
    terminal = call.flag("tty")
    streams = Streams(
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr") and not terminal,
        terminal=terminal,
    )
    if not (streams.stdin or streams.stdout or streams.stderr):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return streams


async def converse(call: Call, access: PodAccess, container: str, streams: Streams, channels: Channels) -> None:
    """Start what the client asks for, carry what both say, and tell the outcome."""
    try:
        session = _session(call, access, container, streams)
    except (NotRunnableError, ApiError) as error:
        await channels.finish(_not_run(str(error), entered=call.target.subresource == "attach"))
        return
    carrying = [asyncio.create_task(_show(session, channels)), asyncio.create_task(_listen(session, channels))]
    try:
        shown, heard = carrying
        await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
        if not shown.done() and heard.exception() is None:
            return  # the client is gone
        for task in carrying:
            if task.done():
                task.result()
        await channels.finish(outcome(await session.wait()))
    except (ConnectionError, RuntimeError):
        log.debug("session.lost", pod=call.target.name, container=container)
    finally:
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
        session.close()


def _session(call: Call, access: PodAccess, container: str, streams: Streams) -> Session:
    namespace, pod = call.target.namespace, call.target.name
    if call.target.subresource == "attach":
        return access.attach(namespace, pod, container, streams)
    return access.execute(namespace, pod, container, call.request.query.getall("command", []), streams)


async def _show(session: Session, channels: Channels) -> None:
    """Everything the process writes, and then its end."""

    async def carry(name: str) -> None:
        async for piece in outputs[name]:
            await channels.send(name, piece)

    outputs = session.outputs()
    carrying = [asyncio.create_task(carry(name)) for name in outputs]
    try:
        await asyncio.gather(*carrying)
    finally:
        for task in carrying:
            task.cancel()
    await session.wait()


async def _listen(session: Session, channels: Channels) -> None:
    async for kind, data in channels.received():
        if kind == "stdin":
            await session.write(data)
        elif kind == "resize":
            if (size := window(data)) is not None:
                session.resize(*size)
        else:
            session.close_input()


def window(data: bytes) -> tuple[int, int] | None:
    """Columns and rows of a terminal, as a client writes them; None where it is no such thing."""
    try:
        size = json.loads(data)
        return int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return None


def outcome(code: int) -> Object:
    """The Status that ends a session."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _not_run(message: str, *, entered: bool) -> Object:
    if not message.startswith("container not found"):
        doing = "attaching to container" if entered else "executing command in container"
        message = f"error {doing}: {message}"
    else:
        message = f"unable to upgrade connection: {message}"
    error = ApiError(500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})
    return {k: v for k, v in error.to_status().items() if k not in ("kind", "apiVersion")}

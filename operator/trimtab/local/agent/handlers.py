"""Actions that a pod's spec asks of its node: probes and lifecycle hooks."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from trimtab.local.agent.processes import Process, StartError
from trimtab.local.objects import Object

_SHOWN = 1_024  # bytes of an answer that a message quotes
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10


class ActionFailedError(Exception):
    """The action did not succeed; the message is what an event says."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an action needs of the container it acts on.

    Attributes:
        address: the pod's address.
        ports: the container's named ports.
        command: rewrites a command line to what is run on this machine.
        mounts: mount paths and the directories behind them.
    """

    address: str
    ports: Mapping[str, int]
    env: Mapping[str, str]
    cwd: Path
    command: Callable[[Sequence[str]], list[str]]
    http: aiohttp.ClientSession
    mounts: Sequence[tuple[str, Path]] = ()


async def act(action: Object, around: Surroundings, timeout_s: float | None) -> None:
    """Carry out an `exec`, `httpGet`, `tcpSocket` or `sleep`.

    Raises:
        ActionFailedError: It failed or took longer than `timeout_s`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            if "exec" in action:
                await _run(around.command(action["exec"].get("command") or []), around)
            elif "httpGet" in action:
                await _get(action["httpGet"], around)
            elif "tcpSocket" in action:
                await _connect(action["tcpSocket"], around)
            elif "sleep" in action:
                await asyncio.sleep(float(action["sleep"]["seconds"]))
            else:
                found = ", ".join(action) or "nothing"
                msg = f"action {found} is not supported here; use exec, httpGet or tcpSocket"
                raise ActionFailedError(msg)
    except TimeoutError:
        raise ActionFailedError(_late(action, around, timeout_s)) from None


async def _run(argv: Sequence[str], around: Surroundings) -> None:
    output = bytearray()
    try:
        process = Process(argv, around.env, around.cwd, output.extend, whole_container=False)
    except StartError as error:
        raise ActionFailedError(str(error)) from error
    try:
        code = await process.wait()
    finally:
        process.kill()
        if process.running:
            await process.wait()
    if code != 0:
        raise ActionFailedError(output[:_SHOWN].decode(errors="replace") or f"exit code {code}")


def _late(action: Object, around: Surroundings, timeout_s: float | None) -> str:
    """How kubelet says that there was no answer in time."""
    if "exec" in action:
        command = " ".join(action["exec"].get("command") or [])
        return f'command timed out: "{command}" timed out after {timeout_s or 0:g}s'
    if "httpGet" in action:
        waited = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return f'Get "{_url(action["httpGet"], around)}": {waited}'
    if "tcpSocket" in action:
        return f"dial tcp {':'.join(map(str, _address(action['tcpSocket'], around)))}: i/o timeout"
    return f"timed out after {timeout_s or 0:g}s"


def _address(action: Object, around: Surroundings) -> tuple[str, int]:
    return action.get("host") or around.address, port_number(action["port"], around.ports)


def _url(action: Object, around: Surroundings) -> str:
    host, port = _address(action, around)
    path = action.get("path") or "/"
    return f"{(action.get('scheme') or 'HTTP').lower()}://{host}:{port}{path if path[0] == '/' else '/' + path}"


async def _get(action: Object, around: Surroundings) -> None:
    url = _url(action, around)
    headers = CIMultiDict((h["name"], h.get("value") or "") for h in action.get("httpHeaders") or ())
    headers.setdefault("User-Agent", "kube-probe/1.36")
    headers.setdefault("Accept", "*/*")
    asked = URL(url)
    try:
        for _ in range(_MOST_REDIRECTS):
            async with around.http.get(asked, headers=headers, ssl=False, allow_redirects=False) as response:
                if not 200 <= response.status < 400:
                    msg = f"HTTP probe failed with statuscode: {response.status}"
                    raise ActionFailedError(msg)
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or not location:
                    return
                following = asked.join(URL(location))
            if following.host != asked.host:
                return  # it answers; another host is not what is asked about
            asked = following
        msg = f'Get "{asked}": stopped after {_MOST_REDIRECTS} redirects'
        raise ActionFailedError(msg)
    except (aiohttp.ClientError, ValueError, OSError) as error:
        msg = f'Get "{url}": {_words(error, asked.host or "", asked.port or 0)}'
        raise ActionFailedError(msg) from error


def _words(error: Exception, host: str, port: int) -> str:
    """What went wrong with a connection, as Go's net package has it."""
    cause = getattr(error, "os_error", error)
    if isinstance(error, (aiohttp.ServerDisconnectedError, ConnectionResetError)):
        return "EOF" if isinstance(error, aiohttp.ServerDisconnectedError) else "read: connection reset by peer"
    if isinstance(cause, OSError) and cause.errno:
        return f"dial tcp {host}:{port}: connect: {os.strerror(cause.errno).lower()}"
    return str(error)


async def _connect(action: Object, around: Surroundings) -> None:
    host, port = _address(action, around)
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise ActionFailedError(_words(error, host, port)) from error
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def port_number(port: int | str, named: Mapping[str, int]) -> int:
    """The number of a port that may be given by name.

    Raises:
        ActionFailedError: No container port has that name.
    """
    if isinstance(port, int):
        return port
    if port in named:
        return named[port]
    if port.isdigit():
        return int(port)
    msg = f"port {port!r} is no named port of the container; known: {', '.join(named) or 'none'}"
    raise ActionFailedError(msg)

"""Actions that a pod's spec asks of its node: probes and lifecycle hooks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from trimtab.local.agent.processes import Process, StartError
from trimtab.local.objects import Object

_SHOWN = 1_024  # bytes of an answer that a message quotes


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
        msg = f"timed out after {timeout_s:g}s" if timeout_s else "timed out"
        raise ActionFailedError(msg) from None


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


async def _get(action: Object, around: Surroundings) -> None:
    port = port_number(action["port"], around.ports)
    host = action.get("host") or around.address
    path = action.get("path") or "/"
    url = f"{(action.get('scheme') or 'HTTP').lower()}://{host}:{port}{path if path[0] == '/' else '/' + path}"
    headers = {h["name"]: h["value"] for h in action.get("httpHeaders") or ()}
    headers.setdefault("User-Agent", "kube-probe/1.36")
    try:
        async with around.http.get(url, headers=headers, ssl=False) as response:
            if not 200 <= response.status < 400:
                msg = f"HTTP probe failed with statuscode: {response.status}"
                raise ActionFailedError(msg)
    except (aiohttp.ClientError, OSError) as error:
        msg = f'Get "{url}": {error}'
        raise ActionFailedError(msg) from error


async def _connect(action: Object, around: Surroundings) -> None:
    host, port = action.get("host") or around.address, port_number(action["port"], around.ports)
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        msg = f"dial tcp {host}:{port}: {error.strerror or error}"
        raise ActionFailedError(msg) from error
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

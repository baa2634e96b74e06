"""Ways into a running pod: what the API server asks of the node agent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class NotRunnableError(Exception):
    """There is no such container to enter right now, or the command cannot be started in it."""


@dataclass(frozen=True, slots=True)
class Streams:
    """What a client wants to be connected to; with a terminal stdout carries everything."""

    stdin: bool
    stdout: bool
    stderr: bool
    terminal: bool


class Session(Protocol):
    """A command that runs, or a container that is attached to, as one client has it."""

    async def write(self, data: bytes) -> None:
        """Give the process something to read; waits while it has not read what came before."""

    def close_input(self) -> None:
        """The client has nothing more to say."""

    def resize(self, columns: int, rows: int) -> None:
        """The client's terminal has another size now."""

    def outputs(self) -> Mapping[str, AsyncIterator[bytes]]:
        """What the process writes, by "stdout" and "stderr"; each may be read once."""

    async def wait(self) -> int:
        """The exit code, as soon as the process has ended; 0 at the end of an attached container."""

    def close(self) -> None:
        """The client is gone or has seen everything; a command that still runs is killed."""


class PodAccess(Protocol):
    """The node agent, as far as clients reach through it."""

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], streams: Streams) -> Session:
        """Start a command in a running container. Raises NotRunnableError."""

    def attach(self, namespace: str, pod: str, container: str, streams: Streams) -> Session:
        """Join a running container. Raises NotRunnableError."""

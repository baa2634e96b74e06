"""HAProxy's sockets in the shared directory: the admin socket of the worker, the master's for reloads."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Self

import structlog

from trimtab.api.gateway import RevisionStats
from trimtab.errors import NotYet
from trimtab.workloads.gateway.configuration import ADMIN_SOCKET, CONFIG_FILE, MASTER_SOCKET
from trimtab.workloads.gateway.difference import MAP_FILE
from trimtab.workloads.gateway.latency import BUCKETS_FILE, TABLE, answers, buckets_text
from trimtab.workloads.gateway.observed import Observed, Slot, observed, parse_map

log = structlog.get_logger(__name__)

# The socket answers within a millisecond; the margin is for a machine that stands still.
_TIMEOUT_SECONDS = 5.0
_DONE = {"", "New server registered.", "Server deleted."}
_LOT = 50
# A deleted server's last connections close within seconds; it is asked again.
_LATER = "still has connections attached"


def batched(commands: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield commands in lots that fit into one line of HAProxy's."""
    left = iter(commands)
    while lot := tuple(islice(left, _LOT)):
        yield lot


class ProxyUnavailable(NotYet):
    """HAProxy does not answer: not started yet, restarting, or gone."""


class Proxy:
    """A HAProxy in a directory that we share with it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Through the descriptor the path is short wherever the directory is: a socket's path has 107 bytes at most.
        self._handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)

    def path(self, name: str) -> Path:
        """Return a short path of a socket in the directory."""
        return Path(f"/proc/self/fd/{self._handle}") / name

    def close(self) -> None:
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def read(self) -> Observed:
        """Return what it does now.

        Raises:
            ProxyUnavailable: It does not answer.
        """
        stat = await self._statistics("show stat")
        routes = await self._ask(ADMIN_SOCKET, f"show map {MAP_FILE}")
        return await asyncio.to_thread(observed, stat, routes)

    async def read_slots(self, slots: Iterable[str], routes: Mapping[str, str]) -> Observed:
        """Return what some slots do now, without asking for the `routes` (model → slot).

        Raises:
            ProxyUnavailable: It does not answer, or has no such slot.
        """
        parts = [await self._statistics(f"show stat {slot} 6 -1") for slot in sorted(slots)]
        found: dict[str, Slot] = {}
        for part in parts:
            found |= observed(part, "").slots
        if found.keys() != set(slots):
            raise ProxyUnavailable("ProxyUnavailable", f"{ADMIN_SOCKET}: no slots {sorted(set(slots) - found.keys())}")
        return Observed(found, routes)

    async def _statistics(self, command: str) -> str:
        text = await self._ask(ADMIN_SOCKET, command)
        # One that was reloaded may lack a slot, and says so in words; one that ends may do so in the middle of a line.
        if not (text.startswith("# ") and text.endswith("\n\n")):
            raise ProxyUnavailable("ProxyUnavailable", f"{ADMIN_SOCKET}: {command}: {text[-80:].strip() or 'nothing'}")
        return text

    async def answers(self) -> dict[str, RevisionStats]:
        """Return what each revision answered since the worker started.

        Raises:
            ProxyUnavailable: It does not answer.
        """
        return answers(await self._ask(ADMIN_SOCKET, f"show table {TABLE}"))

    async def certificate(self, path: Path) -> str | None:
        """Return the SHA-1 of the certificate in a file as it was when HAProxy read it; None where it uses none.

        Raises:
            ProxyUnavailable: It does not answer.
        """
        found = re.search(
            r"^SHA1 FingerPrint: (\w+)$", await self._ask(ADMIN_SOCKET, f"show ssl cert {path}"), re.MULTILINE
        )
        return found.group(1) if found else None

    async def renew(self, path: Path, pem: str) -> bool:
        """Have it show another certificate than the file's that it read; return whether it does.

        Raises:
            ProxyUnavailable: It does not answer.
        """
        said = await self._ask(ADMIN_SOCKET, f"set ssl cert {path} <<\n{pem}\n")
        said += await self._ask(ADMIN_SOCKET, f"commit ssl cert {path}")
        if "Success!" in said:
            return True
        log.warning("certificate.not_renewed", answer=said.strip())
        return False

    async def change(self, commands: Iterable[str]) -> bool:
        """Run runtime commands in order; return whether each was carried out.

        A refused command is logged and the rest still run: the next look at HAProxy decides anew.

        Raises:
            ProxyUnavailable: It does not answer.
        """
        complete = True
        for several in batched(commands):
            # One connection for all of them: a rise is three commands, and a connection costs as much as a command.
            answer = await self._ask(ADMIN_SOCKET, ";".join(several))
            log.debug("proxy.changed", commands=several)
            refused = [line for line in answer.splitlines() if line.strip() not in _DONE]
            complete &= not refused
            if any(_LATER not in line for line in refused):
                log.warning("proxy.refused", commands=several, answers=refused)
        return complete

    async def reload(self) -> None:
        """Make it read its configuration anew; requests in flight finish in the old worker.

        Raises:
            ProxyUnavailable: It does not answer, or no new worker came up.
        """
        before = await self._worker()
        answer = (await self._ask(MASTER_SOCKET, "reload")).strip()
        deadline = asyncio.get_running_loop().time() + _TIMEOUT_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            try:
                if await self._worker() != before:
                    return
            except ProxyUnavailable as error:  # between two workers
                log.debug("proxy.reloading", error=error.message)
            await asyncio.sleep(0.1)  # the master tells nobody when it is done (2.6)
        raise ProxyUnavailable("ReloadFailed", f"HAProxy kept its old configuration: {answer or 'no reason given'}")

    async def master_pid(self) -> int:
        """Return the process id of HAProxy's master, in this container's view of processes.

        Raises:
            ProxyUnavailable: It does not answer.
        """
        processes = [line.split() for line in (await self._ask(MASTER_SOCKET, "show proc")).splitlines()]
        for words in processes:
            if words[1:2] == ["master"]:
                return int(words[0])
        raise ProxyUnavailable("ProxyUnavailable", f"{MASTER_SOCKET}: no master among {processes}")

    def stored_routes(self) -> dict[str, str]:
        """Return route → slot as last written, for a HAProxy that does not answer."""
        try:
            return dict(parse_map((self._directory / MAP_FILE).read_text()))
        except FileNotFoundError:
            return {}

    def store(self, configuration: str, routes: str) -> None:
        """Write what a HAProxy that starts comes up with.

        The configuration comes first: a HAProxy that starts in between then knows every slot that the map names.
        """
        self._replace(BUCKETS_FILE, buckets_text())
        self._replace(MAP_FILE, routes, only_if_missing=True)
        self._replace(CONFIG_FILE, configuration)
        self._replace(MAP_FILE, routes)

    def _replace(self, name: str, text: str, *, only_if_missing: bool = False) -> None:
        path = self._directory / name
        if path.exists() and (only_if_missing or path.read_text() == text):
            return
        partial = path.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(path)

    async def _worker(self) -> str:
        """Return the process id of the worker that answers."""
        info = await self._ask(ADMIN_SOCKET, "show info")
        return next((line for line in info.splitlines() if line.startswith("Pid:")), "")

    async def _ask(self, socket: str, command: str) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.path(socket), limit=1 << 20)
                try:
                    writer.write(command.encode() + b"\n")
                    writer.write_eof()  # the master's socket waits for more otherwise
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise ProxyUnavailable("ProxyUnavailable", f"{socket}: {error or 'no answer'}") from error

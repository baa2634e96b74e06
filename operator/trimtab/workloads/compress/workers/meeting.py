"""How the workers of a Job find each other: worker 0 leaves its address in the store, where all of them look.

Needs neither DNS nor rights in the API. An invitation carries a word that is new with every start of worker 0, and each
worker has one seat: who follows an old invitation is not let in, and looks for the next one.
"""

from __future__ import annotations

import json
import secrets
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
import torch.distributed as dist

from trimtab.api.conditions import Reason
from trimtab.errors import NotYet
from trimtab.store import open_store, write_manifest
from trimtab.workloads.compress.stopping import GroupEnded, Stop
from trimtab.workloads.compress.workers.group import Together
from trimtab.workloads.compress.workers.member import Member

_WAIT_S = 600.0  # for the others: pods may need nodes that are yet to come
_LOOK_S = 1.0  # 64 workers ask the store 64 times a second
_ANSWER = timedelta(seconds=10)  # of worker 0, when another one calls
_MESH = timedelta(minutes=1)  # until all are connected to each other
_FILE = "invitation.json"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Meeting:
    """The place where the workers of one Job meet."""

    uri: str
    """A folder of the store for this Job alone."""
    field: str
    key: str
    """Of what is to be made: workers that read different data do not train together."""
    member: Member
    stop: Stop
    wait_s: float = _WAIT_S
    clock: Callable[[], float] = time.monotonic
    word: Callable[[], str] = lambda: secrets.token_hex(16)

    def lead(self) -> Together:
        """Invite the other workers and return the group once all are here.

        Raises:
            GroupEnded: They do not come. NotYet: RunPending, they cannot connect.
            Interrupted: The run was asked to end.
        """
        listener = socket.create_server((self.member.address, 0), family=_family(self.member.address))
        port = listener.getsockname()[1]
        store = _store(self.member.address, port, listener.detach())
        word = self.word()
        store.set("word", word)
        store.set("key", self.key)
        self._leave({"address": self.member.address, "port": port, "word": word})
        seats = [f"seat/{index}" for index in range(1, self.member.workers)]
        log.info("workers.invited", workers=self.member.workers, address=self.member.address, port=port)
        end = self.clock() + self.wait_s
        while missing := [seat for seat in seats if not store.check([seat])]:
            if self.clock() > end:
                came = len(seats) - len(missing) + 1
                raise GroupEnded(self._unmet(f"only {came} of {self.member.workers} workers came"))
            self._pause()
        store.set("complete", word)
        return self._connected(store)

    def follow(self) -> Together | None:
        """Accept worker 0's invitation and return the group; None where no step is left that trains.

        Raises:
            GroupEnded: There is no invitation. NotYet: RunPending, worker 0 makes something else, or they cannot
                connect. Interrupted: The run was asked to end.
        """
        end, refused = self.clock() + self.wait_s, set[str]()
        while self.clock() < end:
            invitation = self._invitation()
            if invitation.get("dismissed"):
                return None
            word = invitation.get("word")
            if word is not None and word not in refused:
                try:
                    store = self._seated(invitation)
                except (OSError, RuntimeError, ValueError) as error:  # nobody there any more, or somebody else
                    log.info("workers.refused", reason=str(error).splitlines()[0][:200])
                    refused.add(word)
                else:
                    return self._connected(store)
            self._pause()
        raise GroupEnded(self._unmet("worker 0 did not let this one in"))

    def dismiss(self) -> None:
        """Tell workers that start from now on that they are not needed."""
        self._leave({"dismissed": True})

    def _seated(self, invitation: dict[str, Any]) -> dist.Store:
        """Take this worker's seat and wait until all are taken."""
        # Nobody there is known at once; a TCPStore tries again until its time is over.
        socket.create_connection((invitation["address"], invitation["port"]), _ANSWER.total_seconds()).close()
        store = _store(invitation["address"], invitation["port"], None)
        if store.get("word") != invitation["word"].encode():
            raise ValueError("the address has another owner by now")
        if (key := store.get("key").decode()) != self.key:
            raise NotYet(
                Reason.RUN_PENDING,
                f"spec.compression.workers: {self.member} is to make {self.key}, worker 0 {key}: source or data "
                "changed meanwhile, or their CPUs differ; let spec.compression.job.pool name nodes of one kind",
            )
        mine = self.word()
        if store.compare_set(f"seat/{self.member.index}", "", mine) != mine.encode():
            raise ValueError("another worker has this seat")
        while not store.check(["complete"]):
            self._pause()
        return store

    def _connected(self, store: dist.Store) -> Together:
        # Bound to the pod's own address, whatever the machine's name resolves to; torch has no public way to say so.
        gloo: Any = dist.ProcessGroupGloo
        options = gloo._Options()  # noqa: SLF001
        options._devices = [gloo.create_device(hostname=self.member.address)]  # noqa: SLF001
        options._timeout = _MESH  # noqa: SLF001
        member = self.member
        try:
            mesh: Any = dist.PrefixStore("mesh", store)
            group = Together(gloo(mesh, member.index, member.workers, options), member)
        except RuntimeError as error:
            what = f"they do not reach each other ({str(error).splitlines()[0][:200]})"
            raise NotYet(Reason.RUN_PENDING, self._unmet(what)) from None
        log.info("workers.met", index=member.index, workers=member.workers)
        return group

    def _invitation(self) -> dict[str, Any]:
        content = open_store(self.uri, self.field).read(_FILE)
        found: dict[str, Any] = json.loads(content) if content else {}
        return found

    def _leave(self, invitation: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / _FILE).write_text(json.dumps(invitation))
            write_manifest(Path(name))
            open_store(self.uri, self.field).publish(Path(name))

    def _pause(self) -> None:
        self.stop.wait(_LOOK_S)
        self.stop.check()

    def _unmet(self, what: str) -> str:
        return (
            f"spec.compression.workers: {what} within {self.wait_s:g} s; see that there is room for "
            f"{self.member.workers} pods, and that NetworkPolicies let pods of the run reach each other"
        )


def _store(address: str, port: int, listening: int | None) -> dist.Store:
    return dist.TCPStore(
        address,
        port,
        is_master=listening is not None,
        master_listen_fd=listening,
        wait_for_workers=False,
        timeout=_ANSWER,
    )


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET

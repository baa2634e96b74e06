"""The embedded cluster: everything of it, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self

import aiohttp
import structlog

from trimtab.local import apiservice
from trimtab.local.access.keys import Keys
from trimtab.local.access.podaccounts import PodAccounts
from trimtab.local.agent import warden
from trimtab.local.agent.addresses import PodAddresses
from trimtab.local.agent.agent import NodeAgent
from trimtab.local.agent.credentials import pod_token
from trimtab.local.agent.heartbeats import Heartbeats
from trimtab.local.agent.launching import Host, folder_name, inherited
from trimtab.local.agent.processes import MARKER, kill_marked
from trimtab.local.apiserver.server import ApiServer
from trimtab.local.controllers.accounts import RootCertificates
from trimtab.local.controllers.accountsecrets import AccountSecrets
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.events import forget_old
from trimtab.local.controllers.feed import Feed
from trimtab.local.controllers.table import controllers
from trimtab.local.loopback import LoopbackRange, claim_range
from trimtab.local.machines import node_object
from trimtab.local.nodegroups.controller import NodeGroups
from trimtab.local.nodegroups.definition import definition
from trimtab.local.proxy.services import ServiceProxy
from trimtab.local.registry import Registry
from trimtab.local.state import file as statefile
from trimtab.local.state.journal import Journal
from trimtab.local.state.records import Saved

log = structlog.get_logger(__name__)

BASE_NODE = "local-0"
API_PORT = 6443


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """What an embedded cluster is made of.

    Attributes:
        directory: for keys, kubeconfig, logs and volumes; short, as socket paths inside have 107 bytes at most.
        images: patterns of image names (`fnmatch`) and the start of the command line each stands for.
        capacity: what the permanent node offers.
        pass_through: variables of this process that containers inherit besides PATH.
        back_off_scale: multiplies the waits before a container or a Job's pod is tried again.
        stop_grace_s: how long pods get to end when the cluster stops.
        kubeconfig: where to write it; in the directory by default.
        clock: tells the time; aware datetimes.
        keep_state: whether objects are kept in the directory, for the next cluster that is started on it.
    """

    directory: Path
    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    capacity: Mapping[str, str] = field(default_factory=lambda: {"cpu": "8", "memory": "16Gi", "pods": "110"})
    pass_through: Sequence[str] = ("VIRTUAL_ENV", "PYTHONPATH")
    back_off_scale: float = 1.0
    stop_grace_s: float = 3.0
    kubeconfig: Path | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    keep_state: bool = False


class EmbeddedCluster:
    """`async with EmbeddedCluster(config) as cluster:` runs one; leaving ends everything of it."""

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        self.identity = f"c{secrets.token_hex(4)}"
        self.kubeconfig_path = config.kubeconfig or config.directory / "kubeconfig"
        self._stack = contextlib.AsyncExitStack()
        self.registry: Registry
        self.agent: NodeAgent
        self.api: ApiServer

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return self.api.url

    async def __aenter__(self) -> Self:
        """Start; on failure nothing is left running."""
        if not sys.platform.startswith("linux"):
            msg = f"the embedded cluster needs Linux (127.0.0.0/8, /proc, pidfd), this is {sys.platform}; use kind"
            raise OSError(msg)
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop pods, controllers and the API server, in this order."""
        await self._stack.aclose()
        log.info("cluster.stopped", cluster=self.identity)

    async def _start(self) -> None:
        config, stack = self.config, self._stack
        saved = self._saved()
        loopback = claim_range(random.SystemRandom(), saved.network if saved else None)
        stack.callback(loopback.release)
        stack.callback(self._start_warden())
        journal = Journal(config.directory / statefile.NAME, loopback.number) if config.keep_state else None
        if journal is not None:
            stack.push_async_callback(journal.close)
        self.registry = Registry(
            config.clock,
            lambda: str(uuid.uuid4()),
            service_range=loopback.services,
            journal=journal,
            saved=saved,
        )
        stack.callback(self.registry.close)
        self.registry.admission["pods"] = PodAccounts(self.registry.find, self.registry.ids).admit
        self._seed(loopback)
        keys = Keys.kept(config.directory / "pki", datetime.now(UTC))
        addresses = [apiservice.first_address(loopback.services)]
        self.api = ApiServer(self.registry, host=loopback.host, port=API_PORT, keys=keys, addresses=addresses)
        await self.api.start()
        stack.push_async_callback(self.api.stop)
        self._write_kubeconfig()
        forget_old(self.registry, config.clock())
        feed = Feed(self.registry)
        stack.push_async_callback(feed.stop)
        http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))
        stack.push_async_callback(http.close)
        self.agent = NodeAgent(
            self.registry,
            feed,
            config.clock,
            self._host(http),
            PodAddresses(loopback.prefix, self._known_addresses()),
            host_address=loopback.host,
            back_off_scale=config.back_off_scale,
        )
        proxy = ServiceProxy(feed, node_address=loopback.host)
        groups = NodeGroups(
            self.registry, feed, config.clock, host_address=loopback.host, kill_node=self.agent.kill_node
        )
        working: list[Controller] = [
            *controllers(self.registry, feed, config.clock, config.back_off_scale),
            RootCertificates(self.registry, feed, config.clock, self.api.trust),
            AccountSecrets(self.registry, feed, config.clock, self.api.gate.tokens, self.api.trust),
            groups,
        ]
        tasks = [asyncio.create_task(c.run(), name=c.name) for c in working]
        tasks.append(asyncio.create_task(Heartbeats(self.registry, config.clock).run(), name="heartbeats"))
        for task in tasks:
            task.add_done_callback(_log_end)
        stack.push_async_callback(_end, tasks)
        proxy.start()
        stack.push_async_callback(proxy.stop)
        self.agent.start()
        stack.push_async_callback(self.agent.stop, config.stop_grace_s)
        log.info("cluster.started", cluster=self.identity, url=self.api.url)

    def _saved(self) -> Saved | None:
        """What an earlier cluster left; from here on nobody else may use the folder's state.

        Raises:
            Stalled: It is in use or damaged.
        """
        if not self.config.keep_state:
            return None
        self._stack.enter_context(statefile.locked(self.config.directory))
        return statefile.read(self.config.directory / statefile.NAME)

    def _known_addresses(self) -> list[str]:
        """Where pods of an earlier cluster were: clients may still try them, and processes may be about to end."""
        pods = self.registry.list("pods")[0]
        return [pod["status"]["podIP"] for pod in pods if (pod.get("status") or {}).get("podIP")]

    def _seed(self, loopback: LoopbackRange) -> None:
        for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            if self.registry.find("namespaces", "", name) is None:
                self.registry.create("namespaces", namespace)
        apiservice.seed(self.registry, loopback.services, loopback.host, API_PORT)
        self._seed_groups()
        base = node_object(BASE_NODE, self.config.capacity, host_address=loopback.host, now=self.config.clock())
        if (known := self.registry.find("nodes", "", BASE_NODE)) is None:
            self.registry.create("nodes", base)
        else:
            self.registry.update("nodes", {**known, "status": base["status"]}, subresource="status", manager="kubelet")

    def _seed_groups(self) -> None:
        """Node groups are as this release defines them, whichever one kept the state."""
        resource, wanted = "customresourcedefinitions.apiextensions.k8s.io", definition()
        known = self.registry.find(resource, "", wanted["metadata"]["name"])
        if known is None:
            self.registry.create(resource, wanted)
        else:
            self.registry.update(resource, {**known, "spec": wanted["spec"]})

    def _host(self, http: aiohttp.ClientSession) -> Host:
        directory = self.config.directory / "p"
        directory.mkdir(parents=True, exist_ok=True)
        if self.config.keep_state:  # as after a reboot: what a pod keeps on its node is there again
            known = {folder_name(pod) for pod in self.registry.list("pods")[0]}
            for folder in directory.iterdir():
                if folder.name not in known:
                    shutil.rmtree(folder, ignore_errors=True)
        else:
            self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        return Host(
            cluster=self.identity,
            images=self.config.images,
            environ=inherited(os.environ, self.config.pass_through),
            token=partial(pod_token, self.api.gate.tokens, self.registry.find),
            kubeconfig=lambda token, namespace: self.api.kubeconfig(token, user="pod", namespace=namespace),
            directory=directory,
            http=http,
        )

    def _write_kubeconfig(self) -> None:
        self.kubeconfig_path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.kubeconfig_path.with_name(f"{self.kubeconfig_path.name}.{self.identity}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.api.kubeconfig())
        fresh.replace(self.kubeconfig_path)

    def _start_warden(self) -> Callable[[], None]:
        """Start the process that cleans up if this one dies; returns what ends it in good order."""
        self.config.directory.mkdir(parents=True, exist_ok=True)
        marker = f"{MARKER}={self.identity}/"
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", warden.__file__, marker],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

        def end() -> None:
            kill_marked(f"{self.identity}/")
            if process.stdin is not None:
                process.stdin.close()
            process.wait()

        return end


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _log_end(task: asyncio.Task[None]) -> None:
    """A controller runs until it is cancelled; anything else is a bug that must not go unseen."""
    if not task.cancelled():
        log.error("controller.failed", controller=task.get_name(), exc_info=task.exception())

"""A chaotic run: a plan is carried out on a whole Trimtab under load, and what must hold is watched."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import victims
from faults.clocks import ShiftedClock
from faults.cluster import FaultyCluster
from faults.invariants import Invariants
from faults.models import Wishes, shuffled
from faults.plan import DEEDS, Event
from faults.processes import processes, send
from faults.storage import FaultyS3, SmallDisk

from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster
from trimtab.errors import NotYet
from trimtab.workloads.gateway.configuration import CONFIG_FILE

Object = dict[str, Any]
NOTICE = {"key": "local.trimtab.dev/interruption", "effect": "NoSchedule"}
_SHARE = 0.3  # of the answers are spoilt while answers are


@dataclass
class Chaos:
    """Everything that can be hurt, and what has become of it."""

    cluster: FaultyCluster
    client: Cluster
    namespace: str
    wishes: Wishes
    operators: list[Any]
    s3: FaultyS3 | None = None
    disk: SmallDisk | None = None
    clock: ShiftedClock | None = None
    invariants: Invariants = field(default_factory=Invariants)
    done: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    died: int = 0
    """Operators that ended by themselves."""
    say: Callable[[str], None] = print
    _impaired: set[str] = field(default_factory=set)
    _meant_dead: set[int] = field(default_factory=set)
    _away: asyncio.Lock = field(default_factory=asyncio.Lock)
    _serving: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watch the invariants and restart operators that died inside the block."""
        await self.tell("record", str(self.cluster.changes))
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._supervise())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    async def run(self, events: tuple[Event, ...], seconds: float) -> None:
        """Let everything happen; returns when all of it is over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for event in events:
                await asyncio.sleep(max(0.0, began + event.at - time.monotonic()))
                group.create_task(self._happen(event))
            await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))

    async def tell(self, *command: Any) -> Any:
        return await asyncio.to_thread(self.cluster.tell, *command)

    async def apply(self, name: str) -> None:
        """Apply what is wished for, as a user would who tries again until it is taken."""
        manifest = self.wishes.manifest(name, self.namespace)
        if manifest is None:
            await self._try(lambda: self.client.delete(kinds.MODELS, name, self.namespace))
        else:
            await self._try(lambda: self.client.apply(manifest, manager="user"))

    async def _try(self, change: Callable[[], Awaitable[Any]]) -> None:
        while True:
            try:
                await change()
                return
            except NotYet:
                await asyncio.sleep(0.5)

    async def unfulfilled(self) -> dict[str, str]:
        """Return what is not as users want it, by model."""
        bodies = {body["metadata"]["name"]: body for body in await self.tell("list", "optimizedmodels.trimtab.dev")}
        found = {name: self.wishes.unfulfilled(name, bodies.get(name)) for name in self.wishes.specs}
        return {name: why for name, why in found.items() if why is not None}

    async def _happen(self, event: Event) -> None:
        name = event.what
        if name in DEEDS:
            model = self.wishes.change(name, event.draw)
            if model is not None and name == "replaces a guest":
                await self._try(lambda: self.client.delete(kinds.MODELS, model, self.namespace))
            if model is not None:
                await self.apply(model)
            hit = model is not None
        else:
            hit = await self._fault(event)
        (self.done if hit else self.skipped)[name] += 1
        self.say(f"{event}{'' if hit else ': skipped'}")

    async def _fault(self, event: Event) -> bool:
        """Return whether there was anything to hit."""
        what, seconds = event.what, event.seconds
        match what.split():
            case ["operator", "killed"]:
                return await self._operator_killed(event)
            case ["operator", "paused"]:
                return await self._operator_paused(event)
            case ["operator's", *_] if self.clock is not None:
                self.clock.set(int(240 * event.draw) - 120)
                return True
            case ["gateway" | "agent" | "replica", _]:
                return await self._serving_hit(event)
            case ["run", "killed"] | ["run's", *_]:
                return await self._run_hit(event)
            case ["node", _]:
                return await self._node_hit(event)
            case ["API", *_] | ["history", _]:
                async with self._away:
                    await self.tell("away")
                    await asyncio.sleep(seconds)
                    if what == "history forgotten":  # watches that go on from before are told to list again: 410
                        await self.tell("forget history")
                    await self.tell("back")
            case ["connections", how]:
                await self.tell({"cut": "cut", "half-closed": "half-close", "silent": "silence"}[how])
            case ["answers", "slow"]:
                await self._while(seconds, ("slow", 0.05 + event.draw / 2), ("slow", 0.0))
            case ["answers", "lost"]:
                await self._while(seconds, ("lose answers", _SHARE), ("lose answers", 0.0))
            case ["answers", status]:
                await self._while(seconds, ("refuse", int(status), _SHARE), ("refuse", 0, 0.0))
            case ["disk", "full"] if self.disk is not None:
                await asyncio.to_thread(self.disk.fill)
                await asyncio.sleep(seconds)
                self.disk.free()
            case ["S3", how] if self.s3 is not None:
                setattr(self.s3, how, 0.6)
                await asyncio.sleep(seconds)
                setattr(self.s3, how, 0.0)
            case _:
                return False
        return True

    async def _while(self, seconds: float, begin: tuple[Any, ...], end: tuple[Any, ...]) -> None:
        await self.tell(*begin)
        await asyncio.sleep(seconds)
        await self.tell(*end)

    async def _operator_killed(self, event: Event) -> bool:
        number = int(event.draw * len(self.operators))
        if number in self._meant_dead:
            return False
        self._meant_dead.add(number)
        await asyncio.to_thread(self.operators[number].kill)
        await asyncio.sleep(event.seconds)
        self.operators[number].start()
        self._meant_dead.discard(number)
        return True

    async def _operator_paused(self, event: Event) -> bool:
        process = self.operators[int(event.draw * len(self.operators))].process
        send([process.pid], signal.SIGSTOP)
        try:
            await asyncio.sleep(event.seconds)
        finally:
            if process.poll() is None:
                send([process.pid], signal.SIGCONT)
        return True

    async def _serving_hit(self, event: Event) -> bool:
        """Kill, pause or delete a replica, a gateway or its agent, if others can take its part."""
        part, how = event.what.split()
        component = "serve" if part == "replica" else "gateway"
        async with self._serving:
            pods = await self.tell("list", "pods")
            knowledge = await victims.Knowledge.ask(pods)
            found = [pod for pod in victims.of(pods, component) if self._spared(pod, knowledge, part)]
            if not found:
                return False
            pod = found[int(event.draw * len(found))]
            uid = pod["metadata"]["uid"]
            container = pod["spec"]["containers"][0]["name"]
            word = {"gateway": CONFIG_FILE, "agent": "agent"}.get(part, "")
            self._impaired.add(uid)
            if how == "deleted":
                with suppress(NotYet):
                    await self.client.delete(kinds.PODS, pod["metadata"]["name"], self.namespace)
            elif how == "killed":
                send(processes(uid, container, word)[:1], signal.SIGKILL)
            else:
                send(processes(uid, container, word), signal.SIGSTOP)
        await asyncio.sleep(max(3.0, event.seconds))
        if how == "paused":
            send(processes(uid, container, word), signal.SIGCONT)
        self._impaired.discard(uid)
        return True

    def _spared(self, pod: Object, knowledge: victims.Knowledge, part: str) -> bool:
        """Whether enough is left without this pod; an agent is missed by nobody."""
        if part == "agent":
            return True
        if part == "gateway":
            return knowledge.gateways({pod["metadata"]["uid"], *self._impaired}) > 0
        return not self._impaired and knowledge.spared(victims.model_of(pod), {pod["metadata"]["name"]})

    async def _run_hit(self, event: Event) -> bool:
        pods = victims.of(await self.tell("list", "pods"), "compress")
        if not pods:
            return False
        pod = pods[int(event.draw * len(pods))]
        if event.what == "run killed":
            send(processes(pod["metadata"]["uid"], pod["spec"]["containers"][0]["name"])[:1], signal.SIGKILL)
            return True
        with suppress(NotYet):
            await self.client.delete(kinds.PODS, pod["metadata"]["name"], self.namespace)
        return True

    async def _node_hit(self, event: Event) -> bool:
        """Take a node of a pool away, at once or with notice, if no model has all of its replicas there."""
        async with self._serving:
            pods = await self.tell("list", "pods")
            knowledge = await victims.Knowledge.ask(pods)
            nodes = [node["metadata"]["name"] for node in await self.tell("list", "nodes")]
            wanted = "spot" if event.what == "node noticed" else ""
            for name in shuffled([name for name in nodes if name != "local-0" and name.startswith(wanted)], event.draw):
                there = {victims.model_of(pod) for pod in victims.of(pods, "serve") if victims.node_of(pod) == name}
                if (
                    not self._impaired
                    and knowledge.gateways(set(), name)
                    and all(knowledge.spared(model, set(), name) for model in there)
                ):
                    break
            else:
                return False
            if event.what == "node noticed":
                with suppress(NotYet):
                    await self.client.merge(kinds.NODES, name, None, {"spec": {"taints": [NOTICE]}})
                return True
            self._impaired.add(name)
            await self.tell("lose node", name)
        await asyncio.sleep(event.seconds)
        await self.tell("forget node", name)
        self._impaired.discard(name)
        return True

    async def _supervise(self) -> None:
        """Start operators that ended by themselves, as Kubernetes does, and count them."""
        while True:
            for number, operator in enumerate(self.operators):
                if number not in self._meant_dead and operator.process.poll() is not None:
                    self.died += 1
                    self.say(f"operator {number} ended by itself with {operator.process.returncode}")
                    operator.start()
            await asyncio.sleep(1)

    async def _watch(self) -> None:
        with self.cluster.changes.open() as file:
            rest, told = "", 0
            while True:
                rest += file.read()
                *whole, rest = rest.split("\n")
                for line in whole:
                    self.invariants.see(*json.loads(line))
                for violation in unproven_artifacts(self.disk.folder) if self.disk else ():
                    if violation not in self.invariants.violations:
                        self.invariants.violations.append(violation)
                for violation in self.invariants.violations[told:]:
                    self.say(f"VIOLATED: {violation}")
                told = len(self.invariants.violations)
                await asyncio.sleep(0.3)


def unproven_artifacts(folder: Path) -> list[str]:
    """Return the visible folders of artifacts without a manifest, or with a file that is not as it says."""
    found = []
    for model in folder.glob("*/*/model.*"):
        if any(part.startswith(".") for part in model.relative_to(folder).parts):
            continue
        try:
            listed = json.loads((model.parent / "manifest.json").read_text())["files"]
            wrong = [one["name"] for one in listed if (model.parent / one["name"]).stat().st_size != one["size"]]
        except FileNotFoundError:
            if model.exists():
                found.append(f"{model.parent} has no manifest, or not what it lists")
            continue
        if wrong:
            found.append(f"{model.parent}: {wrong} are not as the manifest says")
    return found

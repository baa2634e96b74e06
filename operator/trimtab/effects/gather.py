"""Reads the world into snapshots: from indices that watches keep, and from the gateways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from trimtab.api.capacity import CapacityPool, Price
from trimtab.api.gateway import ModelStats
from trimtab.api.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MODEL_LABEL,
    POOL_LABEL,
    REVISION_LABEL,
    RUN_LABEL,
    Key,
)
from trimtab.api.status import OptimizedModelStatus, RunPhase
from trimtab.effects.capacityevents import CapacityEvents
from trimtab.effects.kinds import PODS
from trimtab.effects.knowing import Known
from trimtab.effects.kubernetes import Cluster
from trimtab.effects.listening import Listening
from trimtab.effects.prometheus import PrometheusSignals
from trimtab.effects.reading import explain
from trimtab.effects.remembering import Remembered, stamp
from trimtab.effects.signals import GatewaySignals
from trimtab.effects.views import deployment_view, is_in_service, leads, pod_view, run_view
from trimtab.effects.world import World, only
from trimtab.effects.written import Written
from trimtab.planning.loads import Load
from trimtab.planning.notices import leaves_at
from trimtab.planning.settings import Settings
from trimtab.planning.snapshot import RunView, Snapshot
from trimtab.planning.support import pool_refusals

Object = dict[str, Any]

_LOG_TAIL_LINES = 20
# What is not replaced by then leaves all the same.
_RETIRED_NOTICE = timedelta(minutes=2)


class Gatherer:
    """Makes snapshots."""

    def __init__(
        self,
        world: World,
        cluster: Cluster,
        signals: GatewaySignals,
        settings: Settings,
        clock: Callable[[], datetime],
        prometheus: PrometheusSignals | None = None,
        listening: Listening | None = None,
    ) -> None:
        """`prometheus` tells the models' load, where it is the source; without `listening` no model rests."""
        self._listening = listening
        self._prometheus = prometheus
        self._world = world
        self._cluster = cluster
        self._signals = signals
        self._settings = settings
        self._clock = clock
        self._written = Written()
        self._known = Known(world, self._written)
        self._going: Remembered[tuple[dict[str, datetime], frozenset[str]]] = Remembered()
        self._doomed: dict[str, datetime] = {}
        self._asked: list[tuple[Object, Price | None]] = []
        self._pools: tuple[tuple[CapacityPool, ...], dict[str, str]] = ((), {})
        self.events = CapacityEvents()
        """What happened to capacity; whoever hears of something notes it here."""
        self.market: dict[str, Price] = {}
        """What a node of a pool costs now, by pool, where a market tells; whoever learns it writes it here."""

    def wrote(self, key: Key, body: Object) -> None:
        """Remember what the API server answered to our status: the watch may show it later than the next look."""
        self._written.note(key, body)

    def forget(self, key: Key) -> None:
        """Drop what is known of a model that is gone, and of its namespace with the last one."""
        self._written.forget(key)
        if self._listening is not None:
            self._listening.attend(key)
        self._known.rest(key)
        if not self._world.namespaced_models.get(key.namespace):
            self._signals.forget(key.namespace)
            self._known.forget_namespace(key.namespace)

    async def snapshot(self, key: Key) -> Snapshot | None:
        """Return a model's snapshot, or None when it is gone or going: its children go with it."""
        if self._listening is not None:
            self._listening.attend(key)
        read = self._known.model(key)
        if read is None:
            return None
        now = self._clock()
        pools, bad_pools = self.pools()
        doomed, retiring = self._leaving(now, pools)
        stats = await self._stats(key)
        service = only(self._world.services, (key.namespace, key.name))
        return Snapshot(
            key=key,
            uid=read.uid,
            generation=read.generation,
            spec=read.spec,
            invalid=read.invalid,
            status=read.status,
            conditions=read.conditions,
            settings=self._settings,
            now=now,
            overrides=read.overrides,
            owners=self._known.owners(key.namespace),
            gateway_owners=self._known.gateway_owners(key.namespace),
            runs=await self._runs(key, read.status),
            deployments=tuple(deployment_view(item) for item in self._world.deployments.get(key, ())),
            pods=tuple(
                pod_view(item, self._world.node, now)
                for item in self._world.pods.get(key, ())
                if REVISION_LABEL in item["metadata"]["labels"]
            ),
            cluster_ip=_cluster_ip(service) if service else None,
            name_taken=service is not None and not _is_of(service, key),
            load=await self._load(key),
            traffic=_traffic(stats, key.name),
            gateway_ready=any(is_in_service(pod) for pod in self._world.gateways.get(key.namespace, ())),
            pools=pools,
            doomed_nodes=doomed,
            retiring=retiring,
            bad_pools=bad_pools,
            events=self.events.recent(now.timestamp()),
            zones=dict(self.events.by_pool),
        )

    def pools(self) -> tuple[tuple[CapacityPool, ...], dict[str, str]]:
        """Return the pools that can be used, by weight and name, and why the others cannot.

        The same answer, not merely an equal one, until a pool or a price changes: every model asks every second.
        """
        bodies = [only(self._world.pools, name) for name in sorted(self._world.pools)]
        found = [body for body in bodies if body is not None and not body["metadata"].get("deletionTimestamp")]
        asked = [(body, self.market.get(body["metadata"]["name"])) for body in found]
        if len(asked) != len(self._asked) or any(
            body is not before or price != paid
            for (body, price), (before, paid) in zip(asked, self._asked, strict=True)
        ):
            self._asked, self._pools = asked, self._read(asked)
            for body in found:
                self.events.recall(body["metadata"]["name"], body.get("status") or {})
        return self._pools

    def _read(self, bodies: Iterable[tuple[Object, Price | None]]) -> tuple[tuple[CapacityPool, ...], dict[str, str]]:
        """Return the pools of these bodies, at the prices of their markets where there are some."""
        good: list[CapacityPool] = []
        bad: dict[str, str] = {}
        for body, market in bodies:
            name = body["metadata"]["name"]
            try:
                pool = CapacityPool.model_validate(body)
            except ValidationError as error:
                bad[name] = explain(error)
                continue
            refused = pool_refusals(pool.spec)
            if refused:
                bad[name] = "; ".join(str(refusal) for refusal in refused)
            else:
                own = pool.spec.price
                # Whoever names a currency counts in it: a sum with the market's dollars would be none.
                price = own if market is None or (own is not None and own.currency != market.currency) else market
                good.append(pool.model_copy(update={"spec": pool.spec.model_copy(update={"price": price})}))
        return tuple(sorted(good, key=lambda pool: (-pool.spec.weight, pool.name))), bad

    def doomed(self, now: datetime, pools: Sequence[CapacityPool]) -> dict[str, datetime]:
        """Return the nodes that go away, and when; the time counts from when a notice was first seen."""
        return self._leaving(now, pools)[0]

    def _leaving(self, now: datetime, pools: Sequence[CapacityPool]) -> tuple[dict[str, datetime], frozenset[str]]:
        """Return the nodes that go away, and which of them because we give them back."""
        # Every look asks, and seldom are nodes or pools other ones than at the look before.
        made_from = (stamp(self._world.nodes), pools, tuple(self._world.pools))
        return self._going.ask(made_from, lambda: (self._judge(now, pools), self._world.retiring()))

    def _judge(self, now: datetime, pools: Sequence[CapacityPool]) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        retiring = self._world.retiring()
        for name in self._world.nodes:
            if (node := self._world.node(name)) is None:
                continue
            until = leaves_at(node, pools, now)
            if until is None and (self._retired(node) or name in retiring):
                until = now + _RETIRED_NOTICE
            if until is not None:
                found[name] = min(until, self._doomed.get(name, until))
        self._doomed = found
        return found

    def _retired(self, node: Object) -> bool:
        """Whether a node takes no new pods because its pool was deleted."""
        pool = node["metadata"]["labels"].get(POOL_LABEL)
        return bool(pool and pool not in self._world.pools and node["spec"]["unschedulable"])

    async def _load(self, key: Key) -> Load | None:
        if self._prometheus is None:
            return None
        in_service = sum(1 for pod in self._world.gateways.get(key.namespace, ()) if is_in_service(pod))
        return await self._prometheus.load(key, in_service)

    def rest(self, key: Key, seen: ModelStats | None) -> bool:
        """Leave a model alone until its gateways report something else than `seen`; return whether that is possible."""
        if self._listening is None or seen is None:
            return False
        rests = self._listening.rest(key, seen, self._addresses(key.namespace))
        if rests:
            self._known.rest(key)
        return rests

    async def _stats(self, key: Key) -> Mapping[str, ModelStats] | None:
        return await self._signals.sample(key.namespace, self._addresses(key.namespace))

    def _addresses(self, namespace: str) -> list[str]:
        """Return where a namespace's gateways are asked."""
        pods = [
            pod
            for pod in self._world.gateways.get(namespace, ())
            if (pod.get("status") or {}).get("podIP") and not pod["metadata"].get("deletionTimestamp")
        ]
        # One that no Service leads to, because it boots or its node is lost, must not silence the others.
        asked = [pod for pod in pods if is_in_service(pod)] or pods
        return [pod["status"]["podIP"] for pod in asked]

    async def _runs(self, key: Key, status: OptimizedModelStatus) -> tuple[RunView, ...]:
        jobs = list(self._world.jobs.get(key, ()))  # the index changes while a log is read
        pods: dict[str, list[Object]] = {}
        for pod in self._world.pods.get(key, ()):
            run = pod["metadata"]["labels"].get(RUN_LABEL)
            if run:
                pods.setdefault(run, []).append(pod)
        views = []
        for job in jobs:
            own = pods.get(job["metadata"]["labels"].get(RUN_LABEL, ""), [])
            view = run_view(job, own, await self._log_tail(own))
            if view.has_ended and view.result is None and not _is_remembered(view, status):
                # The watch of Jobs may be ahead of that of pods: what a pod said is not lost before it was asked for.
                labels = f"{RUN_LABEL}={view.key}"
                view = run_view(job, await self._cluster.list(PODS, key.namespace, labels), "")
            views.append(view)
        return tuple(views)

    async def _log_tail(self, pods: Iterable[Object]) -> str:
        """Return the end of the running pod's log; that of an ended one is of no use, nor that of a lesser worker."""
        for pod in pods:
            if (pod.get("status") or {}).get("phase") == "Running" and leads(pod):
                meta = pod["metadata"]
                return await self._cluster.pod_log(meta["namespace"], meta["name"], _LOG_TAIL_LINES)
        return ""


def _is_remembered(view: RunView, status: OptimizedModelStatus) -> bool:
    """Whether the status says what came of a run: then nobody asks its pods any more."""
    last = status.last_run
    return last is not None and last.key == view.key and last.phase in (RunPhase.SUCCEEDED, RunPhase.FAILED)


def _is_of(service: Object, key: Key) -> bool:
    """Whether a Service is the model's own: not a stranger's, nor that of another model's revision."""
    labels = service["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY_LABEL) == MANAGED_BY and labels.get(MODEL_LABEL) == key.name


def _cluster_ip(service: Object) -> str | None:
    ip = service["spec"].get("clusterIP")
    return ip if ip and ip != "None" else None


def _traffic(stats: Mapping[str, ModelStats] | None, model: str) -> ModelStats | None:
    """A gateway that answers but does not know the model yet has no traffic for it; one that is silent says nothing."""
    if stats is None:
        return None
    return stats.get(model, ModelStats())

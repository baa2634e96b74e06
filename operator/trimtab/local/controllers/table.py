"""Every controller of the cluster, the scheduler included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from trimtab.local.controllers.accounts import DefaultAccounts
from trimtab.local.controllers.aggregation import RoleAggregation
from trimtab.local.controllers.controller import Controller
from trimtab.local.controllers.cronjobs import CronJobs
from trimtab.local.controllers.daemonsets import DaemonSets
from trimtab.local.controllers.deployments import Deployments
from trimtab.local.controllers.disruptions import Disruptions
from trimtab.local.controllers.endpointobjects import EndpointObjects
from trimtab.local.controllers.endpointslices import EndpointSlices
from trimtab.local.controllers.feed import Feed
from trimtab.local.controllers.garbage import GarbageCollector
from trimtab.local.controllers.jobs import Jobs
from trimtab.local.controllers.namespaces import Namespaces
from trimtab.local.controllers.nodehealth import NodeTiming
from trimtab.local.controllers.nodes import Nodes, OrphanedPods
from trimtab.local.controllers.replicasets import ReplicaSets
from trimtab.local.controllers.statefulsets import StatefulSets
from trimtab.local.controllers.taints import TaintEvictions
from trimtab.local.registry import Registry
from trimtab.local.scheduler.scheduler import Scheduler


def controllers(
    registry: Registry,
    feed: Feed,
    clock: Callable[[], datetime],
    back_off_scale: float,
    timing: NodeTiming | None = None,
) -> Sequence[Controller]:
    """New controllers on one registry; `back_off_scale` multiplies the wait before a Job's next pod."""
    plain: tuple[type[Controller], ...] = (
        DefaultAccounts,
        RoleAggregation,
        Deployments,
        ReplicaSets,
        StatefulSets,
        DaemonSets,
        CronJobs,
        EndpointSlices,
        EndpointObjects,
        Disruptions,
        GarbageCollector,
        Namespaces,
        TaintEvictions,
        Scheduler,
    )
    return [
        *(make(registry, feed, clock) for make in plain),
        Nodes(registry, feed, clock, timing),
        OrphanedPods(registry, feed, clock, timing),
        Jobs(registry, feed, clock, back_off_scale),
    ]

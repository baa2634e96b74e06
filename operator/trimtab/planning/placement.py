"""Placement: which of a revision's replicas run on which capacity type, and which pods go first."""

from __future__ import annotations

from math import ceil

from trimtab.api.base import CapacityType
from trimtab.planning.snapshot import PodView

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
# Kubernetes' ReplicaSets remove the cheapest ready pod first; anything below the default of 0 will do.
DOOMED_COST = "-1000"


def part(total: int, share: int, whole: int) -> int:
    """Return the part of `total` that `share` of `whole` replicas take: rounded up, too many rather than too few."""
    if whole <= 0:
        return 0
    return min(total, ceil(total * share / whole))


def made_before_broken(target: int, ordered: int, ready: int, surplus: int) -> int:
    """Return the replicas of one capacity type while the other one takes over from it.

    Args:
        target: What the split says.
        ordered: What its Deployment says now.
        ready: Its replicas that serve and stay.
        surplus: Replicas of the revision, whatever they run on, that serve beyond what it needs.

    Only what serves elsewhere already may go; replicas that do not serve go at once.
    """
    return max(target, min(ordered, ready - surplus))


def doomed_pods(pods: tuple[PodView, ...], nodes: frozenset[str]) -> tuple[PodView, ...]:
    """Return the pods that lose their node and are not yet on their way out."""
    return tuple(pod for pod in pods if pod.node in nodes and not pod.terminating)


def surplus_for_doomed(
    capacity_type: CapacityType, revision: str, doomed: tuple[PodView, ...], *, replaced: bool
) -> int:
    """Return the replicas to order beyond the wanted number because of doomed ones.

    A doomed pod still counts as a replica of its Deployment, so its replacement has to be asked for. Once the
    replacements serve, the surplus goes, and the deletion cost makes the doomed pods the ones that leave.
    """
    if replaced:
        return 0
    return sum(1 for pod in doomed if pod.capacity_type is capacity_type and pod.revision == revision)

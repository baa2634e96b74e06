"""What a node group does next: a pure decision from its spec, its status, its nodes and their pods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.nodegroups.definition import DRAINING_SINCE, INTERRUPTION_TAINT, TERMINATES_AT
from trimtab.local.objects import Object
from trimtab.local.times import parse_duration, parse_stamp, seconds_until, stamp

DRAIN_AT_MOST = timedelta(seconds=60)  # then a node that is scaled in goes with what is left on it


@dataclass(frozen=True, slots=True)
class Machine:
    """One node of the group: an entry of status.nodes."""

    name: str
    zone: str | None
    phase: str
    created_at: datetime
    ready_at: datetime
    terminates_at: datetime | None = None

    def entry(self) -> Object:
        """As the status writes it."""
        out: Object = {"name": self.name, "phase": self.phase, "createdAt": stamp(self.created_at)}
        if self.zone is not None:
            out["zone"] = self.zone
        out["readyAt"] = stamp(self.ready_at)
        if self.terminates_at is not None:
            out["terminatesAt"] = stamp(self.terminates_at)
        return out


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What to do.

    Attributes:
        register: machines whose Node object is made now.
        notify: nodes that get the annotation saying when they go, with that instant.
        drain: nodes to cordon, whose pods are deleted gracefully.
        remove: nodes to take away now, with whatever runs on them.
    """

    status: Object
    register: tuple[Machine, ...] = ()
    notify: tuple[tuple[str, datetime], ...] = ()
    drain: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """The spec, read."""

    desired: int
    zones: tuple[str, ...]
    boot_delay: timedelta
    notice: timedelta
    victims: frozenset[str]
    unavailable: frozenset[str]

    @classmethod
    def of(cls, group: Object) -> GroupSpec:
        """Read the spec; the schema has checked the forms."""
        spec = group["spec"]
        return cls(
            desired=int(spec.get("desired", 0)),
            zones=tuple(spec.get("zones") or ()),
            boot_delay=parse_duration(spec.get("bootDelay", "5s")),
            notice=parse_duration(spec.get("notice", "120s")),
            victims=frozenset(spec.get("victims") or ()),
            unavailable=frozenset(spec.get("unavailableZones") or ()),
        )


@dataclass(slots=True)
class _Draft:
    """The plan while it is made."""

    machines: list[Machine]
    register: list[Machine] = field(default_factory=list)
    notify: list[tuple[str, datetime]] = field(default_factory=list)
    drain: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)


def plan_group(
    group: Object,
    nodes: Mapping[str, Object],
    running: Mapping[str, Sequence[Object]],
    now: datetime,
    new_name: Callable[[], str],
) -> GroupPlan:
    """What keeps the group at its size.

    `nodes` are the group's Node objects by name, `running` the unfinished pods by node. An interrupted
    node counts until it is gone: its replacement is ordered then, as an auto-scaling group does it.
    """
    spec = GroupSpec.of(group)
    draft = _Draft([])
    for machine in _known(group, nodes, now):
        _advance(machine, nodes.get(machine.name), running.get(machine.name, ()), spec, draft, now)
    staying = [m for m in draft.machines if m.phase != "Draining"]
    for victim in _surplus(staying, spec, running):
        _scale_in(victim, draft, now)
    short = _scale_out(spec, spec.desired - len(staying), draft, now, new_name)
    return GroupPlan(
        status=_status(group, draft.machines, short, spec, now),
        register=tuple(draft.register),
        notify=tuple(draft.notify),
        drain=tuple(draft.drain),
        remove=tuple(draft.remove),
        requeue_after=_next_change(draft.machines, now),
    )


def _known(group: Object, nodes: Mapping[str, Object], now: datetime) -> list[Machine]:
    """The machines of the status that are still there; a node that somebody deleted is gone."""
    known = []
    for entry in (group.get("status") or {}).get("nodes") or ():
        machine = Machine(
            name=entry["name"],
            zone=entry.get("zone"),
            phase=entry["phase"],
            created_at=_instant(entry.get("createdAt"), now),
            ready_at=_instant(entry.get("readyAt"), now),
            terminates_at=_instant(entry["terminatesAt"], now) if entry.get("terminatesAt") else None,
        )
        if machine.phase == "Booting" or machine.name in nodes:
            known.append(machine)
    return known


def _instant(text: str | None, now: datetime) -> datetime:
    return parse_stamp(text) if text else now


def _advance(
    machine: Machine,
    node: Object | None,
    busy: Sequence[Object],
    spec: GroupSpec,
    draft: _Draft,
    now: datetime,
) -> None:
    """Move one machine along: boot, interruption, draining, end."""
    if machine.phase == "Booting" or node is None:
        if seconds_until(machine.ready_at, now) == 0:
            machine = _moved(machine, "Ready", None)
            draft.register.append(machine)
        draft.machines.append(machine)
        return
    if _is_interrupted(node) and machine.phase != "Draining":  # what drains is going already
        annotated = (node["metadata"].get("annotations") or {}).get(TERMINATES_AT)
        end = parse_stamp(annotated) if annotated else _soonest(machine, now + spec.notice)
        if not annotated:
            draft.notify.append((machine.name, end))
        machine = _moved(machine, "Interrupted", end)
    elif machine.phase == "Interrupted":  # the taint was taken off: the machine stays
        machine = _moved(machine, "Ready", None)
    over = machine.terminates_at is not None and seconds_until(machine.terminates_at, now) == 0
    if over or (machine.phase == "Draining" and not busy):
        draft.remove.append(machine.name)
        return
    if machine.phase == "Draining":
        draft.drain.append(machine.name)
    draft.machines.append(machine)


def _is_interrupted(node: Object) -> bool:
    return any(t["key"] == INTERRUPTION_TAINT for t in node["spec"].get("taints") or ())


def _soonest(machine: Machine, end: datetime) -> datetime:
    return min(machine.terminates_at, end) if machine.terminates_at else end


def _moved(machine: Machine, phase: str, end: datetime | None) -> Machine:
    return Machine(machine.name, machine.zone, phase, machine.created_at, machine.ready_at, end)


def _surplus(staying: Sequence[Machine], spec: GroupSpec, running: Mapping[str, Sequence[Object]]) -> list[Machine]:
    """What goes when the group is too large.

    Named victims first, then what is not there yet or going anyway, nodes without pods, the newest.
    """
    count = len(staying) - spec.desired
    if count <= 0:
        return []

    def rank(machine: Machine) -> tuple[object, ...]:
        return (
            machine.name not in spec.victims,
            machine.phase == "Ready",
            bool(running.get(machine.name)),
            -machine.created_at.timestamp(),
            machine.name,
        )

    return sorted(staying, key=rank)[:count]


def _scale_in(victim: Machine, draft: _Draft, now: datetime) -> None:
    draft.machines.remove(victim)
    if victim.phase == "Booting" or victim in draft.register:
        if victim in draft.register:
            draft.register.remove(victim)
        return  # nobody has seen it yet
    end = _soonest(victim, now + DRAIN_AT_MOST)
    draft.machines.append(_moved(victim, "Draining", end))
    draft.drain.append(victim.name)


def _scale_out(spec: GroupSpec, missing: int, draft: _Draft, now: datetime, new_name: Callable[[], str]) -> int:
    """Order what is missing, zone by zone; returns how many could not be had."""
    zones = [z for z in spec.zones if z not in spec.unavailable]
    for placed in range(max(0, missing)):
        if spec.zones and not zones:
            return missing - placed
        crowd = Counter(m.zone for m in draft.machines if m.phase != "Draining")
        zone = min(zones, key=lambda z: (crowd[z], zones.index(z))) if zones else None
        ready = now + spec.boot_delay
        machine = Machine(new_name(), zone, "Booting", now, ready)
        if spec.boot_delay <= timedelta(0):
            machine = _moved(machine, "Ready", None)
            draft.register.append(machine)
        draft.machines.append(machine)
    return 0


def _status(group: Object, machines: Sequence[Machine], short: int, spec: GroupSpec, now: datetime) -> Object:
    condition: Object = {"type": "CapacityUnavailable", "observedGeneration": group["metadata"]["generation"]}
    if short:
        zones = ", ".join(z for z in spec.zones if z in spec.unavailable)
        condition |= {
            "status": "True",
            "reason": "InsufficientCapacity",
            "message": f"{short} of {spec.desired} nodes cannot be had: no capacity in {zones}",
        }
    else:
        condition |= {"status": "False", "reason": "CapacityAvailable", "message": "every node could be ordered"}
    old = (group.get("status") or {}).get("conditions") or []
    return {
        "observedGeneration": group["metadata"]["generation"],
        "ready": sum(m.phase == "Ready" for m in machines),
        "nodes": [m.entry() for m in machines],
        "conditions": pods.with_condition(old, condition, stamp(now)),
    }


def _next_change(machines: Sequence[Machine], now: datetime) -> float | None:
    """Seconds until a machine boots up or goes; a little later, as stamps have whole seconds."""
    instants = [m.ready_at if m.phase == "Booting" else m.terminates_at for m in machines]
    waits = [seconds_until(i, now) for i in instants if i is not None]
    return max(0.05, min(waits)) if waits else None


def draining_annotation(now: datetime) -> dict[str, str]:
    """What a draining node says of itself."""
    return {DRAINING_SINCE: stamp(now)}

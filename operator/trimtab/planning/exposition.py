"""What the operator tells Prometheus: the numbers of every model's and pool's status, in the text format.

A pure function of the statuses, so that a restart resets no counter; sums are brought up to the moment of the scrape.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from trimtab.api.conditions import AVAILABLE, CAPACITY_MET, READY
from trimtab.api.status import CapacityPoolStatus, CostStatus, OptimizedModelStatus
from trimtab.planning.costing import spent_by

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CONDITIONS = (READY, AVAILABLE, CAPACITY_MET)
_FAMILIES = {
    "trimtab_model_condition": ("gauge", "1 where a condition of the model is True, 0 where it is not."),
    "trimtab_model_replicas": ("gauge", "Ready replicas by capacity type; capacity_type=desired is what is wanted."),
    "trimtab_cost_per_hour": ("gauge", "What a model's replicas cost per hour now, by pool."),
    "trimtab_cost_all_on_demand_per_hour": ("gauge", "What they would cost on on-demand nodes alone."),
    "trimtab_cost_total": ("counter", "What a model's replicas have cost, by pool."),
    "trimtab_cost_all_on_demand_total": ("counter", "What they would have cost on on-demand nodes alone."),
    "trimtab_pool_nodes": ("gauge", "Nodes of a pool: desired, ready, doomed."),
    "trimtab_pool_interruptions_total": ("counter", "Interruption notices of a pool."),
    "trimtab_pool_cost_per_hour": ("gauge", "What a pool's nodes cost per hour, used or not."),
    "trimtab_pool_cost_total": ("counter", "What a pool's nodes have cost, used or not."),
}

Sample = tuple[str, Mapping[str, str], float]


def exposition(models: Iterable[Mapping[str, Any]], pools: Iterable[Mapping[str, Any]], now: datetime) -> str:
    """Return the text for Prometheus; a status that cannot be read says nothing."""
    samples: dict[str, list[str]] = {name: [] for name in _FAMILIES}
    for body in models:
        for sample in _model(body, now):
            samples[sample[0]].append(_line(sample))
    for body in pools:
        for sample in _pool(body, now):
            samples[sample[0]].append(_line(sample))
    lines: list[str] = []
    for name, (kind, text) in _FAMILIES.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *samples[name]]
    return "\n".join(lines) + "\n"


def _model(body: Mapping[str, Any], now: datetime) -> Iterator[Sample]:
    try:
        status = OptimizedModelStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return
    who = {"namespace": str(body["metadata"]["namespace"]), "model": str(body["metadata"]["name"])}
    held = {entry.type: entry.status == "True" for entry in status.conditions}
    for kind in _CONDITIONS:
        if kind in held:
            yield "trimtab_model_condition", {**who, "condition": kind}, float(held[kind])
    if (replicas := status.replicas) is not None:
        counts = {"OnDemand": replicas.on_demand, "Spot": replicas.spot, "desired": replicas.desired}
        for kind, count in counts.items():
            yield "trimtab_model_replicas", {**who, "capacity_type": kind}, float(count)
    if status.cost is not None:
        yield from _cost(status.cost, who, now)


def _cost(written: CostStatus, who: Mapping[str, str], now: datetime) -> Iterator[Sample]:
    cost = spent_by(written, now)
    for row in cost.pools:
        labels = {**who, "pool": row.pool, "currency": cost.currency}
        yield "trimtab_cost_per_hour", labels, float(row.per_hour)
        yield "trimtab_cost_total", labels, float(row.spent)
    whole = {**who, "currency": cost.currency}
    yield "trimtab_cost_all_on_demand_per_hour", whole, float(cost.all_on_demand_per_hour)
    yield "trimtab_cost_all_on_demand_total", whole, float(cost.all_on_demand_spent)


def _pool(body: Mapping[str, Any], now: datetime) -> Iterator[Sample]:
    try:
        status = CapacityPoolStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return
    who = {"pool": str(body["metadata"]["name"])}
    for state, count in {"desired": status.desired, "ready": status.ready, "doomed": status.doomed}.items():
        yield "trimtab_pool_nodes", {**who, "state": state}, float(count)
    yield "trimtab_pool_interruptions_total", who, float(status.interruptions)
    if status.cost is not None:
        cost = spent_by(status.cost, now)
        yield "trimtab_pool_cost_per_hour", {**who, "currency": cost.currency}, float(cost.per_hour)
        yield "trimtab_pool_cost_total", {**who, "currency": cost.currency}, float(cost.spent)


def _line(sample: Sample) -> str:
    name, labels, value = sample
    pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} {value:.12g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

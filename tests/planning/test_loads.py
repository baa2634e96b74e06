"""Loads by metric: totals in the metric's unit, what they are worth in replicas, and that silence is never zero."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.gateway import ModelStats
from trimtab.api.serving import ScalingMetric as By
from trimtab.errors import Stalled
from trimtab.planning.loads import Counted, Load, from_gateway, total
from trimtab.planning.scaling import ScalingState, scale
from trimtab.planning.snapshot import PodView, Snapshot
from trimtab.planning.support import refusals, require_metric

from .conftest import spec_of, traffic_of

FULL = Load(0.0, in_flight=6.0, queued=3.0, rate=40.0, latency_ms=250.0, cpu={"a": 0.4, "b": 0.2, "other": 9.0})


@pytest.mark.parametrize(
    ("metric", "load", "pods", "found"),
    [
        (By.CONCURRENCY, FULL, "ab", 9.0),
        (By.QUEUE_DEPTH, FULL, "ab", 3.0),
        (By.REQUEST_RATE, FULL, "ab", 40.0),
        (By.LATENCY, FULL, "ab", 500.0),
        (By.CPU, FULL, "ab", 120.0),
        (By.CPU, FULL, "abc", 180.0),
        (By.CONCURRENCY, Load(0.0, queued=3.0), "ab", None),
        (By.REQUEST_RATE, Load(0.0, rate=float("nan")), "ab", None),
        (By.LATENCY, FULL, "", None),
        (By.CPU, Load(0.0), "ab", None),
        (By.QUEUE_DEPTH, Load(0.0), "ab", None),
    ],
)
def test_totals(metric: By, load: Load, pods: str, found: float | None) -> None:
    """By hand; half a core per replica: 0.6 of 1.0 cores is 120 of 200 %, and a pod unheard of counts as the others."""
    assert total(metric, load, list(pods), 0.5) == (None if found is None else pytest.approx(found))


@pytest.mark.parametrize(
    ("before", "rate"),
    [
        (None, None),
        (Counted(90.0, 100), 20.0),
        (Counted(99.9, 299), None),
        (Counted(90.0, 301), None),
    ],
)
def test_a_rate_needs_two_counts(before: Counted | None, rate: float | None) -> None:
    """Some time apart, and of the same counter: a gateway that restarted counts anew."""
    assert from_gateway(ModelStats(requests_total=300), 100.0, before).rate == rate


def serving(metric: str, target: int | None = None) -> dict[str, Any]:
    scaling = {"metric": metric, **({"target": target} if target else {})}
    return {"minReplicas": 1, "maxReplicas": 20, "scaling": scaling}


def after(
    snapshot: Snapshot, loads: list[Load | None], traffic: ModelStats | None = None, ordered: int = 2
) -> tuple[int, str]:
    """Return the replicas and the reason after these loads, one a second."""
    state, found = ScalingState(), None
    assert snapshot.spec is not None
    for second, load in enumerate(loads):
        now = snapshot.now + timedelta(seconds=second)
        told = None if load is None else load._replace(at=now.timestamp())
        seen = replace(snapshot, now=now, load=told, traffic=traffic)
        found, state = scale(seen, snapshot.spec, state, ordered)
    assert found is not None
    return found.replicas, found.scaling_reason


@pytest.fixture
def measured(a_snapshot: Callable[..., Snapshot]) -> Callable[..., Snapshot]:
    """Return a snapshot of an installation that asks Prometheus."""

    def build(metric: str, target: int | None = None) -> Snapshot:
        snapshot = a_snapshot(spec=spec_of(serving=serving(metric, target)))
        settings = replace(snapshot.settings, prometheus_url="http://prometheus")
        return replace(snapshot, settings=settings)

    return build


@pytest.mark.parametrize(
    ("metric", "target", "load"),
    [
        ("RequestRate", 10, Load(0.0, rate=70.0)),
        ("QueueDepth", 4, Load(0.0, queued=28.0)),
        ("Concurrency", 8, Load(0.0, in_flight=50.0, queued=6.0)),
    ],
)
def test_every_metric_scales_alike(measured: Callable[..., Snapshot], metric: str, target: int, load: Load) -> None:
    """Seven times its target at 70 %: ten replicas at least, whatever is measured."""
    replicas, reason = after(measured(metric, target), [load] * 90, traffic_of("digits-1"))
    assert 10 <= replicas <= 12, reason
    if metric != "Concurrency":
        assert reason.startswith(f"{metric} {7 * target:.1f} at {target} per replica, as ")


def test_a_silent_prometheus_holds(measured: Callable[..., Snapshot]) -> None:
    """For an hour, without a replica less, and it says whose silence it is."""
    busy = [Load(0.0, rate=70.0)] * 90
    many, _ = after(measured("RequestRate", 10), busy)
    replicas, reason = after(measured("RequestRate", 10), [*busy, *[None] * 3600])
    assert replicas == many
    assert reason == f"Prometheus gives no figures: holding {many}"


def test_the_gateways_figures_do_not_stand_in(measured: Callable[..., Snapshot]) -> None:
    """An installation has one source: two that disagree would make replicas come and go."""
    busy = ModelStats(in_flight=500, queued=500)
    replicas, reason = after(measured("Concurrency", 8), [None] * 90, busy)
    assert replicas == 2
    assert reason.startswith("Prometheus gives no figures")


def test_a_metric_without_a_target_is_refused() -> None:
    """Requests at once a runtime tells, and their rate is learnt; nobody knows how long an answer may take."""
    (found,) = refusals(spec_of(serving=serving("Latency")))
    assert str(found) == (
        "spec.serving.scaling.target: none with metric Latency is not supported by this version; set it: the "
        "metric's value per replica when fully used"
    )
    assert refusals(spec_of(serving=serving("RequestRate"))) == []


def test_a_rate_without_a_target_is_learnt(measured: Callable[..., Snapshot]) -> None:
    """Requests at once count until both replicas were busy for a while; then what they answered does."""
    pods = tuple(
        PodView(name, "r", CapacityType.ON_DEMAND, "node", "a", ready=True, terminating=False, age_s=60)
        for name in ("p1", "p2")
    )
    snapshot = replace(measured("RequestRate"), pods=pods)
    busy, calm = Load(0.0, in_flight=4.0, queued=6.0, rate=20.0), Load(0.0, in_flight=1.0, queued=0.0, rate=60.0)
    _, before = after(snapshot, [calm] * 90, traffic_of("digits-1"))
    assert before.startswith("1.0 requests in flight and queued need ")
    replicas, reason = after(snapshot, [*[busy] * 30, *[calm] * 90], traffic_of("digits-1"))
    assert reason.startswith("RequestRate 60.0 at 10.0 per replica, as learnt, as "), reason
    assert 60 / 10 / 0.8 <= replicas <= 11


def test_cpu_needs_prometheus(a_snapshot: Callable[..., Snapshot], measured: Callable[..., Snapshot]) -> None:
    """Gateways measure none."""
    with pytest.raises(Stalled, match=r"spec.serving.scaling.metric: CPU without Prometheus .* --prometheus-url"):
        require_metric(spec_of(serving=serving("CPU", 80)), a_snapshot().settings)
    require_metric(spec_of(serving=serving("CPU", 80)), measured("CPU", 80).settings)

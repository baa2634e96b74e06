"""Policies side by side: the same stretches of the traces, the same draws, means with 95 % intervals."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, stdev

from trimtab.cli.simulate import bound
from trimtab.cli.simulate.policies.hpa import Hpa
from trimtab.cli.simulate.policies.kpa import Kpa
from trimtab.cli.simulate.policies.seen import Brain, Composed, Fixed, Policy
from trimtab.cli.simulate.policies.shares import FixedShare, OnDemandOnly
from trimtab.cli.simulate.policies.skyserve import RequestRate, SpotHedge
from trimtab.cli.simulate.policies.trimtab import Preferences, Trimtab, pools_of
from trimtab.cli.simulate.replay import TICK_S, Case, Outcome, loads, replay

PEAK_QUANTILE = 0.9999


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and half of its 95 % interval (normal, over stretches: those are independent, seeds of one are not).

    The half is infinite for a single stretch; the mean of nothing is no number.
    """

    value: float
    half: float

    def to_json(self) -> dict[str, float | None]:
        """Return both as JSON values, null for what is no number there."""
        return {
            "mean": self.value if math.isfinite(self.value) else None,
            "half95": self.half if math.isfinite(self.half) else None,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """One policy over all stretches; `cost` relative to the peak's replicas on demand all the time."""

    policy: str
    cost: Mean
    over_bound: Mean
    unavailable: Mean
    violation_s_per_day: Mean
    overload: Mean
    launches_per_day: Mean
    turns_per_hour: Mean
    spot_share: Mean

    def to_json(self) -> dict[str, object]:
        """Return the figures as JSON values, in camelCase."""
        return {
            "policy": self.policy,
            "cost": self.cost.to_json(),
            "overBound": self.over_bound.to_json(),
            "unavailable": self.unavailable.to_json(),
            "violationSecondsPerDay": self.violation_s_per_day.to_json(),
            "overload": self.overload.to_json(),
            "launchesPerDay": self.launches_per_day.to_json(),
            "turnsPerHour": self.turns_per_hour.to_json(),
            "spotShare": self.spot_share.to_json(),
        }


Make = Callable[[Case], Policy]


def policies(preferences: Preferences, on_demand_hold_s: float) -> dict[str, Make]:
    """Return the policies to compare, each made anew for a case."""

    def brain(case: Case, of: Callable[[], Brain]) -> Brain:
        return Fixed(case.fixed) if case.fixed is not None else of()

    def ours(case: Case) -> Policy:
        service = case.service
        if case.fixed is not None:
            service = replace(service, min_replicas=case.fixed, max_replicas=case.fixed)
        pools = pools_of(case.supply.zones, case.market.startup_s, case.market.notice_s)
        return Trimtab(service, preferences, pools, on_demand_hold_s)

    made: dict[str, Make] = {
        "Trimtab": ours,
        "HPA, on demand": lambda case: Composed(brain(case, lambda: Hpa(case.service)), OnDemandOnly()),
        "KPA, on demand": lambda case: Composed(brain(case, lambda: Kpa(case.service)), OnDemandOnly()),
        "HPA, ASG half spot": lambda case: Composed(brain(case, lambda: Hpa(case.service)), FixedShare(0, 50)),
        "SkyServe, SpotHedge": lambda case: Composed(
            brain(case, lambda: RequestRate(case.service)), SpotHedge(case.supply.zones)
        ),
    }
    return made


def stretches(case: Case, count: int, seed: int, part: tuple[float, float] = (0.0, 1.0)) -> list[Case]:
    """Return the case at `count` offsets drawn from a part of the traces (shares of their length).

    Demand and supply are of different days, so one offset serves both; the shorter trace starts again at its end.
    Where both are no longer than a stretch there is only one.
    """
    rng = Random(f"offsets {seed}")  # noqa: S311 - a simulation
    span = longest(case)
    low, high = part[0] * span, part[1] * span - case.length_s - case.warm_up_s
    drawn = (low + rng.random() * max(0.0, high - low) for _ in range(count if high > low else 1))
    return [replace(case, offset_s=offset // TICK_S * TICK_S) for offset in drawn]


def longest(case: Case) -> float:
    """Return the seconds after which both traces have been replayed once."""
    return max(case.supply.length_s, case.demand.length_s)


def peak_scaled(case: Case, peak_replicas: int) -> Case:
    """Return the case with its demand scaled so that the peak (99.99th percentile) needs this many replicas."""
    peak = case.demand.quantile(PEAK_QUANTILE) * case.service.service_s
    factor = peak_replicas * case.service.planned / peak if peak else 1.0
    return replace(case, demand=replace(case.demand, rates=array("d", (rate * factor for rate in case.demand.rates))))


def compare(
    cases: Sequence[Case],
    seeds: int,
    compared: Mapping[str, Make],
    peak_replicas: int,
    show: Callable[[str, int], None] = lambda *_: None,
) -> list[Result]:
    """Replay every case with every seed under every policy, interleaved; return a result per policy.

    `show` is told what is replayed, and how many percent of all were before.
    """
    outcomes: dict[str, list[list[tuple[Outcome, float]]]] = {name: [] for name in compared}
    for number, case in enumerate(cases):
        for name in compared:
            outcomes[name].append([])
        for seed in range(seeds):
            seeded = replace(case, seed=seed)
            demand = loads(seeded)
            least = bound.lower_bound(seeded, demand)
            for turn, (name, make) in enumerate(compared.items()):
                done = (number * seeds + seed) * len(compared) + turn
                percent = 100 * done // (len(cases) * seeds * len(compared))
                show(f"{name}, stretch {number + 1} of {len(cases)}", percent)
                outcomes[name][-1].append((replay(seeded, make(seeded), demand), least))
    return [_result(name, runs, peak_replicas) for name, runs in outcomes.items()]


def _result(name: str, runs: Sequence[Sequence[tuple[Outcome, float]]], peak_replicas: int) -> Result:
    def mean(of: Callable[[Outcome, float], float]) -> Mean:
        every = [fmean(of(outcome, least) for outcome, least in seeds) for seeds in runs]
        by_stretch = [value for value in every if not math.isnan(value)]
        if not by_stretch:
            return Mean(math.nan, math.inf)
        half = 1.96 * stdev(by_stretch) / math.sqrt(len(by_stretch)) if len(by_stretch) > 1 else math.inf
        return Mean(fmean(by_stretch), half)

    def days(outcome: Outcome) -> float:
        return outcome.measured_s / 86400

    return Result(
        policy=name,
        cost=mean(lambda outcome, _: outcome.cost / (peak_replicas * days(outcome) * 24)),
        over_bound=mean(lambda outcome, least: outcome.cost / least if least else math.nan),  # nothing was needed
        unavailable=mean(lambda outcome, _: outcome.unavailable),
        violation_s_per_day=mean(lambda outcome, _: outcome.violation_s / days(outcome)),
        overload=mean(lambda outcome, _: outcome.overload),
        launches_per_day=mean(lambda outcome, _: outcome.launches / days(outcome)),
        turns_per_hour=mean(lambda outcome, _: outcome.turns_per_hour),
        spot_share=mean(lambda outcome, _: outcome.spot_h / max(1e-9, outcome.spot_h + outcome.on_demand_h)),
    )

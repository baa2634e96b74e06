"""`trimtab simulate`: what a capacity policy would have cost and missed, before it is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from trimtab.api.quantities import counted, fraction, seconds
from trimtab.cli.printing import echo_json, output_option, progress
from trimtab.cli.simulate.experiment import Make, compare, longest, peak_scaled, policies, stretches
from trimtab.cli.simulate.objects import read_model, read_pools
from trimtab.cli.simulate.plot import draw
from trimtab.cli.simulate.policies.seen import Service
from trimtab.cli.simulate.policies.trimtab import SETTINGS, Preferences
from trimtab.cli.simulate.replay import Case, loads, replay
from trimtab.cli.simulate.table import as_text, lasting, traces_told
from trimtab.cli.simulate.traces import read_demand, read_supply
from trimtab.cli.simulate.world import Market
from trimtab.errors import Stalled

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_PLOT_EVERY_S = 60.0


class _Seconds(click.ParamType[float]):
    name = "duration"

    def __init__(self, least: float = 0.0) -> None:
        self._least = least

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            found = seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if found < self._least:
            self.fail(f"{value} is too short; {self._least:g} s at least", param, ctx)
        return found


class _Percent(click.ParamType[float]):
    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return fraction(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option("--spot", type=_FILE, required=True, help="Trace of spot capacity, CSV: t_s and nodes by zone.")
@click.option("--requests", type=_FILE, help="Trace of requests, CSV: t_s and rps, or one request per row.")
@click.option("--replicas", type=click.IntRange(1, 1000), help="A fixed number of replicas instead of requests.")
@click.option("--model", type=_FILE, help="Manifest of an OptimizedModel: its capacity and scaling are used.")
@click.option("--pools", type=_FILE, help="Manifest of CapacityPools: their prices, start-up and notice are used.")
@click.option("--peak", type=click.IntRange(1, 1000), default=16, show_default=True, help="Replicas at the peak.")
@click.option("--concurrency", type=click.IntRange(1), default=10, show_default=True, help="Requests at once each.")
@click.option("--service-time", type=_Seconds(0.001), default="1s", show_default=True, help="Of one request.")
@click.option("--startup", type=_Seconds(), help="From the order to the ready replica: 90s.")
@click.option("--notice", type=_Seconds(), help="Ahead of a loss: 2m.")
@click.option("--announced", type=_Percent(), default="100%", show_default=True, help="Share of losses with a notice.")
@click.option("--spot-price", type=click.FloatRange(0, 1), help="As a share of on demand: 0.3.")
@click.option("--length", type=_Seconds(60.0), default="24h", show_default=True, help="Of each stretch.")
@click.option("--offsets", type=click.IntRange(1, 1000), default=3, show_default=True, help="Stretches to replay.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, show_default=True, help="Draws per stretch.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the stretches.")
@output_option
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="PNG or SVG with the first stretch.")
def simulate(
    spot: Path,
    requests: Path | None,
    replicas: int | None,
    model: Path | None,
    pools: Path | None,
    peak: int,
    concurrency: int,
    service_time: float,
    startup: float | None,
    notice: float | None,
    announced: float,
    spot_price: float | None,
    length: float,
    offsets: int,
    seeds: int,
    seed: int,
    output: str,
    plot: Path | None,
) -> None:
    """Replay traces through the operator's own decisions and through other policies, and compare.

    Use it to choose onDemandBase, spotPercent, mode and pools before you trust them: cost, time with too few replicas
    and requests above capacity, against the HorizontalPodAutoscaler, Knative, a fixed share of spot, SkyServe with
    SpotHedge, and what a clairvoyant would pay at least.
    """
    if (requests is None) == (replicas is None):
        raise Stalled("InvalidOption", "give either --requests FILE or --replicas N, one of them")
    market = _market(pools, startup, notice, announced, spot_price)
    service, preferences = Service(float(concurrency), service_time), Preferences(on_demand_base=0)
    if model is not None:
        chosen = read_model(model, service_time)
        preferences = chosen.preferences
        service = replace(service, min_replicas=chosen.min_replicas, max_replicas=chosen.max_replicas)
        if chosen.capacity is not None:
            service = replace(service, capacity=float(chosen.capacity))
    case = Case(service, market, length, supply=read_supply(spot), fixed=replicas)
    if requests is not None:
        case = replace(case, demand=read_demand(requests))
    told = traces_told(case)
    case = peak_scaled(case, peak) if requests is not None else case
    made = policies(preferences, SETTINGS.on_demand_hold_s)
    cases = stretches(case, offsets, seed)
    with progress() as show:
        results = compare(cases, seeds, made, replicas or peak, show)
    if output == "json":
        echo_json({"stretches": len(cases), "policies": [result.to_json() for result in results]})
    else:
        click.echo(as_text(results, "\n".join([_heading(case, cases), *told])))
    if plot is not None:
        _plot(cases[0], made, plot)


def _market(
    pools: Path | None, startup: float | None, notice: float | None, announced: float, spot_price: float | None
) -> Market:
    market = Market(told=announced)
    if pools is not None:
        chosen = read_pools(pools)
        market = replace(
            market,
            startup_s=chosen.startup_s,
            notice_s=chosen.notice_s,
            spot_price=chosen.spot_price / chosen.on_demand_price,
        )
    if startup is not None:
        market = replace(market, startup_s=startup)
    if notice is not None:
        market = replace(market, notice_s=notice)
    return market if spot_price is None else replace(market, spot_price=spot_price)


def _heading(case: Case, cases: Sequence[Case]) -> str:
    market, zones = case.market, len(case.supply.zones)
    replayed = f"{counted(len(cases), 'stretch', 'stretches')} of {lasting(case.length_s)}"
    if len(cases) > 1 and len(cases) * case.length_s > longest(case):
        replayed += ", which overlap: intervals are too narrow"
    return (
        f"{replayed}; {counted(zones, 'zone')}; start-up {market.startup_s:g} s, notice {market.notice_s:g} s for "
        f"{market.told:.0%} of the losses; spot at {market.spot_price:.2f} of on demand"
    )


def _plot(case: Case, made: dict[str, Make], path: Path) -> None:
    demand = loads(case)
    curves = {
        name: replay(case, make(case), demand, every=lambda at: at % _PLOT_EVERY_S == 0).points
        for name, make in made.items()
    }
    draw(curves, path)

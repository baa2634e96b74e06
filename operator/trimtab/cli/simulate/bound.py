"""What a clairvoyant would pay: a closed form that nothing can beat, and the exact optimum of short stretches.

Both know all of the future, need as many ready replicas at every tick as a policy is judged by, and may stop a
replica at any moment. The closed form lets replicas boot for nothing, so it is never above the optimum.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from trimtab.cli.simulate.replay import TICK_S, Case

LONGEST_TICKS = 400  # variables of the exact optimum grow with ticks times zones; HiGHS takes seconds at this length


def needs(case: Case, demand: Sequence[int]) -> list[int]:
    """Return the ready replicas that each measured tick needs: those planned for, at the service's utilisation."""
    first = int(case.warm_up_s / TICK_S)
    if case.fixed is not None:
        return [case.fixed] * (len(demand) - first)
    service = case.service
    return [
        min(max(math.ceil(load / service.planned), service.min_replicas), service.max_replicas)
        for load in demand[first:]
    ]


def usable(case: Case, ticks: int) -> list[int]:
    """Return the spot replicas that could be ready at each measured tick.

    A zone carries at most what it had throughout the last start-up.
    """
    boot = math.ceil(case.market.startup_s / TICK_S)
    first = case.offset_s + case.warm_up_s
    total = [0] * ticks
    for zone in case.supply.zones:
        window: deque[tuple[int, int]] = deque()  # (tick, capacity), capacities rising: the first is the least
        for tick in range(-boot, ticks):
            capacity = case.supply.capacity(zone, max(0.0, first + tick * TICK_S))
            while window and window[-1][1] >= capacity:
                window.pop()
            window.append((tick, capacity))
            if window[0][0] < tick - boot:
                window.popleft()
            if tick >= 0:
                total[tick] += window[0][1]
    return total


def lower_bound(case: Case, demand: Sequence[int]) -> float:
    """Return the least that the measured stretch can cost, in the market's unit."""
    wanted = needs(case, demand)
    spot_price, price = case.market.spot_price, case.market.on_demand_price
    cheap = min(spot_price, price)
    paid = sum(
        cheap * min(need, spot) + price * max(0, need - spot)
        for need, spot in zip(wanted, usable(case, len(wanted)), strict=True)
    )
    return paid * TICK_S / 3600


def optimum(case: Case, demand: Sequence[int]) -> float:
    """Return the cost of the cheapest schedule that pays for booting too, by integer programming (HiGHS).

    At every tick t: ready(t) = launched at least a start-up ago and not stopped since >= need(t); what is alive in a
    zone never exceeds its capacity. Replicas that serve at the beginning were booted before it, for nothing.

    Raises:
        ValueError: The stretch is too long.
    """
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    wanted = needs(case, demand)
    ticks, boot = len(wanted), math.ceil(case.market.startup_s / TICK_S)
    if ticks > LONGEST_TICKS:
        raise ValueError(f"{ticks} ticks are too many for an exact optimum; {LONGEST_TICKS} at most")
    zones = case.supply.zones
    places = len(zones) + 1  # on demand is the last
    # Per place: alive(t), launched(t) >= 0, where alive(t) - alive(t-1) <= launched(t), and ready(t) is at most
    # alive(t) less all launches of the last `boot` ticks.
    alive, launched = 0, places * ticks
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    low: list[float] = []

    def at_least(terms: list[tuple[int, float]], least: float) -> None:
        for column, value in terms:
            rows.append(len(low))
            columns.append(column)
            values.append(value)
        low.append(least)

    for place in range(places):
        base = place * ticks
        for t in range(1, ticks):
            at_least([(launched + base + t, 1), (alive + base + t, -1), (alive + base + t - 1, 1)], 0)
    for t in range(ticks):
        terms: list[tuple[int, float]] = []
        for place in range(places):
            base = place * ticks
            terms.append((alive + base + t, 1))
            terms += [(launched + base + u, -1) for u in range(max(1, t - boot + 1), t + 1)]
        at_least(terms, wanted[t])
    prices = [case.market.spot_price] * len(zones) + [case.market.on_demand_price]
    cost = np.concatenate([np.repeat(prices, ticks) * TICK_S / 3600, np.zeros(places * ticks)])
    most = np.full(2 * places * ticks, np.inf)
    first = case.offset_s + case.warm_up_s
    for place, zone in enumerate(zones):
        most[place * ticks : (place + 1) * ticks] = [
            case.supply.capacity(zone, first + t * TICK_S) for t in range(ticks)
        ]
    matrix = coo_array((values, (rows, columns)), shape=(len(low), len(cost))).tocsr()
    found = milp(
        cost,
        constraints=LinearConstraint(matrix, lb=np.array(low)),
        bounds=Bounds(0, most),
        integrality=np.ones(len(cost)),
    )
    if found.x is None:
        raise ValueError(f"no schedule was found: {found.message}")
    return float(found.fun)

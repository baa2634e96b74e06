"""What spot machines cost now: the market's prices, asked every ten minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog

from trimtab.api.capacity import Price
from trimtab.effects.pools.aws import Aws
from trimtab.effects.pools.provider import ProviderError
from trimtab.planning.groups import Group
from trimtab.planning.windows import elapsed

log = structlog.get_logger(__name__)

LOOK_S = 600.0
STALE_S = 3600.0
_PRODUCT = "Linux/UNIX"
# A price changes rarely; the one in force may be older than this, and is returned all the same.
_BACK = timedelta(hours=1)

Market = Mapping[tuple[str, str], Decimal]
"""Price per hour in USD by instance type and zone."""


class SpotPrices:
    """The market by region and types."""

    def __init__(self, aws: Aws, clock: Callable[[], float]) -> None:
        """`clock` in Unix seconds."""
        self._aws = aws
        self._clock = clock
        self._known: dict[tuple[str, tuple[str, ...]], tuple[float, Market]] = {}
        self._asked_at: dict[tuple[str, tuple[str, ...]], float] = {}

    async def price(self, region: str, types: Sequence[str], group: Group) -> Price | None:
        """Return what a node of the group costs; None where the market has not been readable for an hour."""
        key, now = (region, tuple(sorted(types))), self._clock()
        if elapsed(self._asked_at.get(key), now) >= LOOK_S:
            self._asked_at[key] = now
            try:
                self._known[key] = now, await self._market(region, key[1], now)
            except ProviderError as error:  # a price is worth no pool: the rest of the look goes on
                log.warning("prices.not_read", region=region, error=error.message)
        at, found = self._known.get(key, (None, {}))
        return price_of(group, found) if elapsed(at, now) < STALE_S else None

    async def _market(self, region: str, types: Sequence[str], now: float) -> Market:
        def ask(ec2: Any) -> list[Mapping[str, Any]]:
            pages = ec2.get_paginator("describe_spot_price_history").paginate(
                InstanceTypes=list(types),
                ProductDescriptions=[_PRODUCT],
                StartTime=datetime.fromtimestamp(now, UTC) - _BACK,
            )
            return [entry for page in pages for entry in page["SpotPriceHistory"]]

        return newest(await self._aws.call("ec2", region, ask))


def newest(history: Iterable[Mapping[str, Any]]) -> Market:
    """Return the last price of each type and zone in a history, in whatever order it comes."""
    ordered = sorted(history, key=lambda entry: entry["Timestamp"])
    return {(entry["InstanceType"], entry["AvailabilityZone"]): Decimal(entry["SpotPrice"]) for entry in ordered}


def price_of(group: Group, found: Market) -> Price | None:
    """Return what a node of a group costs: the mean of its machines, or the cheapest while there are none."""
    running = [found[key] for instance in group.instances if (key := (instance.type, instance.zone)) in found]
    known = running or ([min(found.values())] if found else [])
    if not known:
        return None
    return Price(per_node_hour=f"{sum(known) / len(known):.6f}", currency="USD")

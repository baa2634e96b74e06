"""What spot nodes cost: the newest prices of where they run, and none that is an hour old."""

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from trimtab.api.capacity import Price
from trimtab.effects.pools.prices import LOOK_S, STALE_S, SpotPrices
from trimtab.effects.pools.provider import ProviderError
from trimtab.planning.groups import Group, Instance

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def entry(type_: str, zone: str, price: str, minutes_ago: int = 0) -> dict[str, Any]:
    at = AT - timedelta(minutes=minutes_ago)
    return {"InstanceType": type_, "AvailabilityZone": zone, "SpotPrice": price, "Timestamp": at}


HISTORY = [
    entry("m5.large", "a", "0.0400"),
    entry("m5.large", "a", "0.0300", minutes_ago=90),
    entry("m5.large", "b", "0.0500"),
    entry("m5a.large", "b", "0.0200"),
]


class Ec2:
    """AWS, as far as its price history goes: moto's never changes."""

    def __init__(self) -> None:
        self.asked = 0
        self.refused = False

    async def call(self, service: str, region: str, ask: Any) -> Any:
        assert (service, region) == ("ec2", "eu-west-1")
        self.asked += 1
        if self.refused:
            raise ProviderError("ProviderThrottled", "ec2 is throttled")
        return ask(self)

    def get_paginator(self, name: str) -> Any:
        assert name == "describe_spot_price_history"
        return self

    def paginate(self, **said: Any) -> list[dict[str, Any]]:
        assert said["InstanceTypes"] == ["m5.large", "m5a.large"]
        return [{"SpotPriceHistory": HISTORY[:2]}, {"SpotPriceHistory": HISTORY[2:]}]


def group(*places: tuple[str, str]) -> Group:
    return Group(desired=2, instances=tuple(Instance(f"i-{n}", zone, type_) for n, (type_, zone) in enumerate(places)))


async def test_the_newest_price_of_where_nodes_run() -> None:
    """Their mean; while there are none, the cheapest that could be."""
    prices = SpotPrices(Ec2(), lambda: 0.0)  # type: ignore[arg-type]
    types = ["m5a.large", "m5.large"]
    two = await prices.price("eu-west-1", types, group(("m5.large", "a"), ("m5.large", "b")))
    assert two == Price(per_node_hour="0.045000", currency="USD")
    assert await prices.price("eu-west-1", types, group()) == Price(per_node_hour="0.020000", currency="USD")


async def test_prices_are_asked_rarely_and_forgotten_late() -> None:
    """Every ten minutes; a market that is silent leaves its last word for an hour, then the pool's own price counts."""
    ec2, now = Ec2(), [0.0]
    prices = SpotPrices(ec2, lambda: now[0])  # type: ignore[arg-type]
    types, one = ["m5.large", "m5a.large"], group(("m5.large", "a"))
    for now[0] in (0.0, LOOK_S - 1):
        assert await prices.price("eu-west-1", types, one) == Price(per_node_hour="0.040000")
    assert ec2.asked == 1
    ec2.refused = True
    with structlog.testing.capture_logs() as lines:
        for now[0] in (LOOK_S, STALE_S - 1):
            assert await prices.price("eu-west-1", types, one) == Price(per_node_hour="0.040000")
        now[0] = STALE_S
        assert await prices.price("eu-west-1", types, one) is None
    assert ec2.asked == 3
    assert [line["event"] for line in lines] == ["prices.not_read"] * 2

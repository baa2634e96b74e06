"""What the operator and the gateway put up with."""

import click

from trimtab.cli.gateway import proxy
from trimtab.handlers import startup

OUTAGE_SECONDS = 300


def test_nobody_gives_up_on_an_api_server_that_is_away_for_five_minutes() -> None:
    """And its return is noticed within seconds, however long it was away."""
    assert sum(startup._BACKOFF_SECONDS) > OUTAGE_SECONDS
    assert max(startup._BACKOFF_SECONDS) <= 5
    patience = next(option for option in proxy.params if option.name == "patience")
    assert isinstance(patience, click.Option)
    assert patience.default > OUTAGE_SECONDS, "a new gateway pod waits for models and endpoints"

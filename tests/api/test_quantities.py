"""Numbers with units: what is accepted, what it means, what is said about the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.quantities import amount, counted, drop_limit, fraction, human_bytes, seconds


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("2m", 120), ("1h30m", 5400), ("250ms", 0.25), ("1m30s", 90), ("0ms", 0)]
)
def test_seconds(text: str, value: float) -> None:
    """Durations are sums of their parts."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "90", "1d", "-5s", "1.5s", "s", "5m1h"])
def test_seconds_refuses(text: str) -> None:
    """Anything else is refused with the form that would do."""
    with pytest.raises(ValueError, match="write it like 90s"):
        seconds(text)


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_seconds_adds_up(hours: int, minutes: int, secs: int, millis: int) -> None:
    """Every combination of units reads back as the time it says."""
    text = f"{hours}h{minutes}m{secs}s{millis}ms"
    assert seconds(text) == pytest.approx(hours * 3600 + minutes * 60 + secs + millis / 1000)


@pytest.mark.parametrize(("text", "value"), [("50%", 0.5), ("0%", 0), ("100%", 1), ("62.5%", 0.625)])
def test_fraction(text: str, value: float) -> None:
    """Percentages are shares of one."""
    assert fraction(text) == value


@pytest.mark.parametrize("text", ["101%", "50", "-1%", "100.5%", "%"])
def test_fraction_refuses(text: str) -> None:
    """Shares end at 100 %."""
    with pytest.raises(ValueError, match="percentage"):
        fraction(text)


def test_a_point_is_not_a_percent() -> None:
    """1pp of a score of 0.8 is 0.01; 1% of it is 0.008."""
    assert drop_limit("1pp").absolute(0.8) == pytest.approx(0.01)
    assert drop_limit("1%").absolute(0.8) == pytest.approx(0.008)


@pytest.mark.parametrize("text", ["0.01", "1", "1 pp", "-1pp", "1p"])
def test_drop_refuses(text: str) -> None:
    """A bare number could mean either, so it means neither."""
    with pytest.raises(ValueError, match="write 1pp for a percentage point"):
        drop_limit(text)


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        ("250m", 0.25),
        ("2", 2),
        (2, 2),
        ("1Ki", 1024),
        ("1.5Gi", 1.5 * 2**30),
        ("3k", 3000),
        ("1e3", 1000),
        ("100n", 1e-7),
        ("1Ei", 2.0**60),
    ],
)
def test_amount(quantity: str | int, value: float) -> None:
    """Resource quantities read as Kubernetes reads them."""
    assert amount(quantity) == value


@pytest.mark.parametrize("quantity", ["", "lots", "1Xi", "--1", "1e400", "1.2.3", "1e99999999999999999999"])
def test_amount_refuses(quantity: str) -> None:
    """What is no quantity is named."""
    with pytest.raises(ValueError, match="not a resource quantity"):
        amount(quantity)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**20, "3.0 MiB")])
def test_human_bytes(count: int, text: str) -> None:
    """Sizes for people have one decimal and a unit."""
    assert human_bytes(count) == text


def test_numbers_go_with_their_nouns() -> None:
    """One node, two nodes; and with a verb, where there is one."""
    assert [counted(count, "node") for count in (0, 1, 2)] == ["0 nodes", "1 node", "2 nodes"]
    assert [counted(count, "replica needs", "replicas need") for count in (1, 2)] == [
        *("1 replica needs", "2 replicas need")
    ]

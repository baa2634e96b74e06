"""An outcome of the demo that nobody had to wait for."""

import pytest

from trimtab.cli.demo.timeline import Mark, Outcome, Proof, Requests, Sample


def a_sample(at: float, *, on_demand: int = 1, spot: int = 0, cost: float = 0.1, all_on_demand: float = 0.2) -> Sample:
    return Sample(
        at=at,
        wanted=on_demand + spot,
        on_demand=on_demand,
        spot=spot,
        offered_per_s=100,
        answered_per_s=99.5,
        p95_ms=12.5,
        sent=int(at * 100),
        failed=0,
        cost_per_hour=cost,
        all_on_demand_per_hour=all_on_demand,
    )


@pytest.fixture
def proof() -> Proof:
    return Proof(
        bytes_before=400_000,
        bytes_after=50_000,
        accuracy_before=0.9925,
        accuracy_after=0.9875,
        drop=0.005,
        lower=-0.001,
        upper=0.012,
        limit=0.02,
        confidence="95%",
        samples=800,
        verdict="Passed",
        message="accuracy fell 0.50pp (95% interval -0.10..1.20pp, n=800), limit 2pp",
        latency_before_ms=0.3,
        latency_after_ms=0.1,
    )


@pytest.fixture
def outcome(proof: Proof) -> Outcome:
    return Outcome(
        proof=proof,
        requests=Requests(sent=8000, failed=0, right=7900, p50_ms=20.0, p95_ms=31.25),
        interruptions=1,
        samples=(a_sample(0), a_sample(10, on_demand=2, spot=4, cost=0.3, all_on_demand=0.6), a_sample(40)),
        marks=(Mark(1.0, "load rises", "load"), Mark(20.0, "notice for <spot-1>", "interruption")),
        seconds=123.4,
    )

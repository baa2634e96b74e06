"""What the demo reports is computed, not guessed."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.cli.demo.timeline import Outcome, Proof, Requests, average_cost, percentile

from .conftest import a_sample


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([], 0.95, 0.0, id="nothing"),
        pytest.param([7.0], 0.95, 7.0, id="one"),
        pytest.param([float(n) for n in range(1, 101)], 0.95, 95.0, id="hundred"),
        pytest.param([3.0, 1.0, 2.0], 0.5, 2.0, id="unordered"),
        pytest.param([1.0, 2.0], 0.0, 1.0, id="least"),
    ],
)
def test_percentile(values: list[float], share: float, expected: float) -> None:
    """The nearest-rank definition, on values in any order."""
    assert percentile(values, share) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_percentile_covers_its_share(values: list[float], share: float) -> None:
    """At least that share of the values lies at or below it, and it is one of them."""
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_cost_is_averaged_over_time_not_over_samples() -> None:
    """Ten seconds at 1 and thirty at 3 cost 2.5 per hour, however often somebody looked."""
    samples = [a_sample(at, cost=1, all_on_demand=2) for at in (0, 1, 2)]
    samples += [a_sample(10, cost=3, all_on_demand=6), a_sample(40, cost=3, all_on_demand=6)]
    assert average_cost(samples) == pytest.approx((2.5, 5.0))


def test_cost_of_too_few_samples() -> None:
    """Nothing costs nothing, and one look is all that is known."""
    assert average_cost([]) == (0.0, 0.0)
    assert average_cost([a_sample(3, cost=0.5, all_on_demand=0.7)]) == (0.5, 0.7)


def test_json_has_what_scripts_rely_on(outcome: Outcome) -> None:
    """Every promised field is there, and the whole is valid JSON."""
    found = json.loads(json.dumps(outcome.to_json(), allow_nan=False))
    assert {"sent": 8000, "failed": 0, "p95Ms": 31.25}.items() <= found["requests"].items()
    assert found["model"]["interval"] == [-0.001, 0.012]
    assert found["model"].keys() >= {"bytesBefore", "bytesAfter", "accuracyBefore", "accuracyAfter", "drop", "verdict"}
    assert found["capacity"] == {
        "onDemand": 2,
        "spot": 4,
        "interruptions": 1,
        "costPerHour": 0.25,
        "allOnDemandPerHour": 0.5,
    }


def test_json_of_a_model_without_latency(outcome: Outcome) -> None:
    """JSON knows no NaN; what was not measured is null."""
    unmeasured = replace(outcome, proof=replace(outcome.proof, latency_before_ms=math.nan))
    assert json.loads(json.dumps(unmeasured.to_json(), allow_nan=False))["model"]["latencyBeforeMs"] is None


def test_accuracy_of_no_answers(outcome: Outcome) -> None:
    """When every request failed there is nothing to divide by."""
    failed = replace(outcome, requests=Requests(sent=5, failed=5, right=0, p50_ms=0, p95_ms=0))
    assert failed.to_json()["requests"]["accuracy"] == 0


def test_proof_is_read_from_the_status(proof: Proof) -> None:
    """Strings of the status become numbers; the active revision's own proof counts."""
    guardrail = {
        "verdict": "Passed",
        "metric": "Accuracy",
        "baseline": "0.9925",
        "candidate": "0.9875",
        "drop": "0.005",
        "lower": "-0.001",
        "upper": "0.012",
        "limit": "0.02",
        "confidence": "95%",
        "samples": 800,
        "message": proof.message,
    }
    revision = {
        "artifact": {"uri": "file:///a", "digest": "sha256:0", "bytes": 50_000, "sourceBytes": 400_000},
        "latencyMs": "0.1",
        "sourceLatencyMs": "0.3",
        "guardrail": guardrail,
    }
    assert Proof.read({"activeRevision": revision, "guardrail": {**guardrail, "drop": "0.9"}}) == proof

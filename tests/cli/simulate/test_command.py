"""`trimtab simulate` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from trimtab.cli import main
from trimtab.cli.simulate.objects import read_model

MODEL = """
apiVersion: trimtab.dev/v1alpha1
kind: OptimizedModel
metadata: {name: digits}
spec:
  source: {uri: s3://models/digits}
  compression: {preset: None}
  guardrail: {dataset: {uri: s3://data/test.npz}}
  serving: {maxReplicas: 4}
  capacity: {onDemandBase: 1, spotPercent: 100, mode: Cost}
"""
POOLS = """
apiVersion: trimtab.dev/v1alpha1
kind: CapacityPool
metadata: {name: on-demand}
spec: {capacityType: OnDemand, provider: {labels: {matchLabels: {a: b}}}, price: {perNodeHour: "2.0"}}
---
apiVersion: trimtab.dev/v1alpha1
kind: CapacityPool
metadata: {name: spot}
spec:
  {capacityType: Spot, provider: {labels: {matchLabels: {a: c}}}, price: {perNodeHour: "0.5"}, startup: {expected: 2m}}
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "spot.csv").write_text("t_s,a,b\n0,4,4\n3600,0,4\n7200,4,4\n")
    (tmp_path / "requests.csv").write_text("t_s,rps\n0,5\n600,20\n1200,8\n")
    (tmp_path / "model.yaml").write_text(MODEL)
    (tmp_path / "pools.yaml").write_text(POOLS)
    return tmp_path


def run(files: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["simulate", "--spot", str(files / "spot.csv"), "--length", "30m", *arguments])
    return result.exit_code, result.output


def test_a_table_names_all_policies(files: Path) -> None:
    """With a model, pools and a picture."""
    code, text = run(
        files,
        *("--requests", str(files / "requests.csv"), "--model", str(files / "model.yaml")),
        *("--pools", str(files / "pools.yaml"), "--plot", str(files / "x.png"), "--offsets", "1"),
    )
    assert code == 0, text
    assert "2 zones; start-up 120 s, notice 120 s for 100% of the losses; spot at 0.25 of on demand" in text
    assert [line.split("  ")[0] for line in text.splitlines()[6:11]] == [
        "Trimtab",
        "HPA, on demand",
        "KPA, on demand",
        "HPA, ASG half spot",
        "SkyServe, SpotHedge",
    ]
    assert (files / "x.png").read_bytes().startswith(b"\x89PNG")


def test_json_has_means_and_intervals(files: Path) -> None:
    """For other programs."""
    code, text = run(files, "--replicas", "2", "--output", "json", "--offsets", "2", "--spot-price", "0.3")
    assert code == 0, text
    ours = json.loads(text)["policies"][0]
    assert ours["policy"] == "Trimtab"
    assert 0.25 < ours["cost"]["mean"] < 1
    assert ours["unavailable"]["mean"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --requests FILE or --replicas N, one of them"),
        (("--replicas", "2", "--startup", "fast"), "'fast' is not a duration; write it like 90s, 2m or 250ms"),
        (("--replicas", "2", "--announced", "0.5"), "'0.5' is not a percentage"),
        (("--replicas", "2", "--length", "0s"), "0s is too short; 60 s at least"),
        (("--replicas", "2", "--service-time", "0s"), "0s is too short; 0.001 s at least"),
        (("--replicas", "2", "--model", "pools.yaml"), "has 0 OptimizedModels; name a file with one"),
        (("--replicas", "2", "--pools", "model.yaml"), "no CapacityPool with capacityType OnDemand"),
        (("--replicas", "2", "--model", "spot.csv"), "has 0 OptimizedModels"),
    ],
)
def test_bad_options_are_refused(
    files: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    """The message names the option and the remedy."""
    monkeypatch.chdir(files)
    code, text = run(files, *arguments)
    assert code != 0
    assert message in text


def test_a_pool_without_a_price_is_refused(files: Path) -> None:
    """A cost needs one."""
    (files / "pools.yaml").write_text(POOLS.replace(', price: {perNodeHour: "0.5"}', ""))
    code, text = run(files, "--replicas", "1", "--pools", str(files / "pools.yaml"))
    assert code != 0
    assert "pool spot has no spec.price; a simulation needs one" in text


def test_a_model_that_is_not_valid_is_refused(files: Path) -> None:
    """With the field."""
    (files / "model.yaml").write_text(MODEL.replace("spotPercent: 100", "spotPercent: 101"))
    code, text = run(files, "--replicas", "1", "--model", str(files / "model.yaml"))
    assert code != 0
    assert "capacity.spotPercent" in text


def model(files: Path, serving: str, capacity: str = "onDemandBase: 0, spotPercent: 100") -> Path:
    path = files / "own.yaml"
    path.write_text(
        MODEL.replace("{maxReplicas: 4}", f"{{{serving}}}").replace("onDemandBase: 1, spotPercent: 100", capacity)
    )
    return path


@pytest.mark.parametrize(
    ("scaling", "at_once"),
    [
        pytest.param("{}", None, id="what the runtimes publish is not known here"),
        pytest.param("{target: 8}", 8, id="requests at once"),
        pytest.param("{metric: RequestRate, target: 20}", 10, id="a rate, of requests that take half a second"),
        pytest.param("{metric: RequestRate, target: 1}", 1, id="one at least"),
        pytest.param("{metric: Latency}", None, id="no target"),
    ],
)
def test_a_target_is_made_requests_at_once(files: Path, scaling: str, at_once: int | None) -> None:
    """What replicas are planned for, whatever the manifest's replicas follow."""
    assert read_model(model(files, f"maxReplicas: 4, scaling: {scaling}"), 0.5).capacity == at_once


def test_a_metric_that_no_trace_tells_is_refused(files: Path) -> None:
    """With the remedy."""
    path = model(files, "maxReplicas: 4, scaling: {metric: Latency, target: 80}")
    code, text = run(files, "--replicas", "2", "--model", str(path))
    assert code != 0
    assert "spec.serving.scaling.metric Latency cannot be simulated" in text
    assert "give --concurrency" in text


def test_a_model_that_sleeps_costs_nothing_while_nobody_comes(files: Path) -> None:
    """With idleAfter as in the manifest; there is no bound to divide by, and JSON says null."""
    (files / "requests.csv").write_text("t_s,rps\n0,0\n600,0\n1200,0\n")
    path = model(files, "minReplicas: 0, maxReplicas: 4, scaling: {idleAfter: 5m}")
    arguments = ("--requests", str(files / "requests.csv"), "--model", str(path), "--offsets", "1")
    code, text = run(files, *arguments, "--output", "json")
    assert code == 0, text
    ours = json.loads(text)["policies"][0]
    assert ours["cost"] == {"mean": 0.0, "half95": None}
    assert ours["overBound"] == {"mean": None, "half95": None}
    code, text = run(files, *arguments)
    assert [line.split()[2] for line in text.splitlines() if line.startswith("Trimtab")] == ["-"]


def test_what_was_read_is_told(files: Path) -> None:
    """So that a unit that was mistaken is noticed; a stretch as long as both traces is the only one."""
    (files / "requests.csv").write_text("t_s,rps\n0,5\n600,20\n2400,8\n")
    arguments = ("--requests", str(files / "requests.csv"), "--spot", str(files / "spot.csv"))
    _, text = run(files, *arguments, "--length", "3h")
    assert text.splitlines()[:3] == [
        "1 stretch of 3 h; 2 zones; start-up 90 s, notice 120 s for 100% of the losses; spot at 0.30 of on demand",
        "spot: 3 h, 4 to 8 nodes",
        "requests: 50 min, 14.6 a second, 20 at the most; no line for 20 min, again and again",
    ]
    _, text = run(files, *arguments, "--offsets", "7")
    assert text.startswith("7 stretches of 30 min, which overlap: intervals are too narrow; 2 zones")

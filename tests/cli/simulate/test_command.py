"""`trimtab simulate` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from trimtab.cli import main

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

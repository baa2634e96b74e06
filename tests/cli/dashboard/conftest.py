"""Models as the API has them, and a site that shows them."""

from __future__ import annotations

import pytest

from trimtab.cli.dashboard.board import Board
from trimtab.cli.dashboard.server import application
from trimtab.errors import NotYet

CONDITION = {"reason": "Serving", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
GUARDRAIL = {
    "verdict": "Passed",
    "metric": "Accuracy",
    "baseline": "0.991",
    "candidate": "0.990",
    "drop": "0.001",
    "lower": "-0.005",
    "upper": "0.008",
    "limit": "0.02",
    "confidence": "95%",
    "samples": 1800,
    "message": "accuracy fell 0.1pp",
}


def a_model(name="digits", *, status="Serving", on_demand=1, spot=3, conditions=(("Ready", "True"),), **more):
    """An OptimizedModel that serves; `more` goes into its status."""
    artifact = {"uri": "file:///a", "digest": "d", "bytes": 70_758, "sourceBytes": 968_038}
    revision = {
        "name": f"{name}-a",
        "runName": "r",
        "artifact": artifact,
        "generation": 1,
        "since": "2026-01-01T00:00:00Z",
        "latencyMs": "0.029",
        "sourceLatencyMs": "0.058",
        "guardrail": GUARDRAIL,
    }
    state = {
        "observedGeneration": 1,
        "conditions": [{"type": kind, "status": value, **CONDITION} for kind, value in conditions],
        "summary": {"status": status, "compression": "Balanced", "message": f"{name} serves"},
        "activeRevision": revision,
        "replicas": {"desired": 4, "ready": on_demand + spot, "onDemand": on_demand, "spot": spot},
        "cost": {"perHour": "0.328", "allOnDemandPerHour": "0.621", "currency": "USD"},
        "url": "http://gateway",
        "decisions": [{"time": "2026-01-01T00:00:00Z", "kind": "Scaling", "message": "2 -> 4 replicas"}],
    }
    return {"metadata": {"namespace": "default", "name": name, "generation": 1}, "status": state | more}


@pytest.fixture
def make():
    """How to make a model."""
    return a_model


class Clock:
    """Says what it was told."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def board(clock):
    return Board(clock, history=3)


@pytest.fixture
def new_site(board):
    """How to start the site, and start it anew."""

    async def report(namespace, name):
        if name != "digits":
            raise NotYet("RunPending", f"model {name} has no artifact yet")
        return f"<p>report of {namespace}/{name}"

    return lambda: application(board, frozenset({"127.0.0.1", "localhost"}), report, heartbeat_s=0.05)


@pytest.fixture
def site(new_site):
    return new_site()

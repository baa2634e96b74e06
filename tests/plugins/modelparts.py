"""Parts of a model's status, as commands read it."""

from __future__ import annotations

from typing import Any

VERDICT = {
    "verdict": "Passed",
    "metric": "Accuracy",
    "baseline": "0.99",
    "candidate": "0.98",
    "drop": "0.01",
    "lower": "0",
    "upper": "0.015",
    "limit": "0.02",
    "confidence": "95%",
    "samples": 800,
}


def a_condition(kind: str, status: str = "True", reason: str = "Serving", message: str = "all is well") -> Any:
    """Return a condition that was set for the second generation."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 2,
        "lastTransitionTime": "2026-01-01T23:00:00Z",
    }

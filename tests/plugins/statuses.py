"""What a model's status says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a condition of a status; empty when it is absent."""
    return next((entry for entry in status.get("conditions") or () if entry["type"] == kind), {})


def rolled_out(generation: int) -> Callable[[dict[str, Any]], bool]:
    """Return whether a status says that a generation is rolled out."""
    return lambda s: s["observedGeneration"] == generation and condition(s, "RolledOut").get("status") == "True"


def both_serve(status: dict[str, Any]) -> bool:
    """Replicas may be healthy at a gateway that no Service leads to yet; Available says that one does."""
    return status["replicas"]["ready"] == 2 and condition(status, "Available").get("status") == "True"

"""A replica that is a process of its own, behind a gateway under test."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(eq=False)
class ReplicaProcess:
    """It can be killed and stopped in the middle of what it does."""

    host: str
    process: asyncio.subprocess.Process

    @property
    def address(self) -> str:
        return f"{self.host}:8080"

    @property
    def pod(self) -> str:
        return "pod-" + self.host.replace(".", "-")

"""How much of a pod one client may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take; seconds, bytes, counts."""

    head_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024 * 1024
    head_s: float = 10.0
    slowest_bytes_per_s: int = 64 * 1024  # a request may take head_s and this rate for its bytes
    idle_s: float = 75.0  # above the gateway's own keep-alive, so that the gateway closes first
    write_s: float = 30.0
    linger_s: float = 2.0
    draining_idle_s: float = 1.0
    pipelined: int = 16
    buffered_bytes: int = 512 * 1024 * 1024  # bodies of all connections that are not answered yet
    connections: int = 4096

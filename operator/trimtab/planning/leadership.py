"""Which of several operators works: decided from a Lease and one's own clock, as Kubernetes' own controllers do.

The Lease is valid for a while after its last renewal. Clocks of different machines are never compared: a candidate
counts from the moment at which it saw the renewal, which is later than the renewal itself, and the holder counts from
the moment before it asked for it, which is earlier. As the holder stops after `renew_s` and others wait `lease_s`,
two never lead at once, however long either of them was paused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a Lease lasts; seconds."""

    lease_s: int = 15
    """Others may take it when they saw no renewal for so long."""
    renew_s: float = 10.0
    """Its holder stops working when it could not renew for so long."""
    retry_s: float = 2.0
    """Between two looks, and between two renewals."""

    def __post_init__(self) -> None:
        if not 0 < self.retry_s < self.renew_s < self.lease_s:
            raise ValueError(
                f"retry {self.retry_s:g} s, renew {self.renew_s:g} s, lease {self.lease_s} s: each must be longer "
                "than the one before"
            )


@dataclass(frozen=True, slots=True)
class Lease:
    """What a Lease says; two that are equal are the same renewal."""

    holder: str
    """Empty: released."""
    duration_s: int
    acquired: str
    renewed: str
    transitions: int

    @classmethod
    def read(cls, body: dict[str, Any]) -> Lease:
        spec = body.get("spec") or {}
        return cls(
            holder=spec.get("holderIdentity") or "",
            duration_s=int(spec.get("leaseDurationSeconds") or 0),
            acquired=spec.get("acquireTime") or "",
            renewed=spec.get("renewTime") or "",
            transitions=int(spec.get("leaseTransitions") or 0),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """A Lease, and when on one's own clock it was first seen so."""

    lease: Lease
    since: float


def seen(before: Seen | None, lease: Lease, now: float) -> Seen:
    """Return what is known after a look: the same renewal is as old as it was."""
    return before if before is not None and before.lease == lease else Seen(lease, now)


def may_claim(known: Seen, me: str, now: float) -> bool:
    """Say whether `me` may write its name into the Lease."""
    if known.lease.holder in {"", me}:
        return True
    return now >= known.since + known.lease.duration_s


def seconds_left(asked: float, terms: Terms, now: float) -> float:
    """Return for how long its holder may still work: `asked` is the time before its last successful renewal."""
    return asked + terms.renew_s - now


def claim(known: Lease | None, me: str, terms: Terms, now: datetime) -> dict[str, Any]:
    """Return the spec of a Lease that `me` takes, or renews. `known` is None where there is none yet."""
    stamp = _micro(now)
    mine = known is not None and known.holder == me
    taken = 0 if known is None else known.transitions + (0 if mine else 1)
    return {
        "holderIdentity": me,
        "leaseDurationSeconds": terms.lease_s,
        "acquireTime": known.acquired if known is not None and mine else stamp,
        "renewTime": stamp,
        "leaseTransitions": taken,
    }


def release(known: Lease, now: datetime) -> dict[str, Any]:
    """Return the spec of a Lease that anybody may take at once."""
    stamp = _micro(now)
    return {
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "acquireTime": stamp,
        "renewTime": stamp,
        "leaseTransitions": known.transitions,
    }


def _micro(now: datetime) -> str:
    """Return a metav1.MicroTime: always six digits."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""A cluster's part of 127.0.0.0/8: 127.N.0.0/16, one per cluster on this machine."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass

LOWEST, HIGHEST = 32, 250
_CLAIM_PORT = 10_250  # bound for as long as the cluster lives; the port that kubelet has elsewhere


class NoLoopbackError(OSError):
    """No part of 127.0.0.0/8 is free, or this system does not offer it."""


@dataclass(frozen=True, slots=True)
class LoopbackRange:
    """A claimed 127.N.0.0/16; `release` gives it back.

    127.N.0.1 is the API server and every node, 127.N.1.1 and up are pods, 127.N.255.0/24 are Services.
    """

    number: int
    _claim: socket.socket

    @property
    def prefix(self) -> str:
        """The first two octets, `127.N`."""
        return f"127.{self.number}"

    @property
    def host(self) -> str:
        """The address of the API server and of the nodes."""
        return f"{self.prefix}.0.1"

    @property
    def services(self) -> str:
        """The network of ClusterIPs."""
        return f"{self.prefix}.255.0/24"

    def release(self) -> None:
        """Let another cluster have it."""
        self._claim.close()


def claim_range(dice: random.Random, wanted: int | None = None) -> LoopbackRange:
    """Claim a part that no other cluster on this machine has; `wanted` is the N that has to be had.

    Raises:
        NoLoopbackError: All are taken, or 127.N.0.1 cannot be bound here (macOS needs aliases).
    """
    numbers = list(range(LOWEST, HIGHEST + 1)) if wanted is None else [wanted]
    dice.shuffle(numbers)
    problem: OSError | None = None
    for number in numbers:
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind((f"127.{number}.0.1", _CLAIM_PORT))
            claim.listen(1)
        except OSError as error:
            claim.close()
            problem = error
            continue
        return LoopbackRange(number, claim)
    if wanted is not None:
        msg = (
            f"127.{wanted}.0.0/16, whose addresses the Services of this state have, cannot be claimed: {problem}; "
            "stop the embedded cluster that has it"
        )
        raise NoLoopbackError(msg)
    msg = f"no 127.N.0.0/16 with N in {LOWEST}..{HIGHEST} can be claimed: {problem}; stop another embedded cluster"
    raise NoLoopbackError(msg)

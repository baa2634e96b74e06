"""Pod addresses: each pod has its own in the cluster's part of 127.0.0.0/8."""

from __future__ import annotations

from collections.abc import Iterable

_ROOM = 254 * 254


class PodAddresses:
    """Hands out 127.N.1.1 to 127.N.254.254 in turn, so that an address rests long before it comes back."""

    def __init__(self, prefix: str, resting: Iterable[str] = ()) -> None:
        """`resting` are addresses that pods had in an earlier cluster: those behind them come first."""
        self._prefix = prefix
        self._taken: set[int] = set()
        self._next = max((_index(a) + 1 for a in resting if a.startswith(f"{prefix}.")), default=0) % _ROOM

    def take(self) -> str:
        """An address that no pod has.

        Raises:
            RuntimeError: Every address is taken.
        """
        for _ in range(_ROOM):
            index = self._next
            self._next = (index + 1) % _ROOM
            if index not in self._taken:
                self._taken.add(index)
                return f"{self._prefix}.{index // 254 + 1}.{index % 254 + 1}"
        msg = f"all {_ROOM} pod addresses of {self._prefix}.0.0/16 are taken"
        raise RuntimeError(msg)

    def give_back(self, address: str) -> None:
        """Make the address available again."""
        self._taken.discard(_index(address))


def _index(address: str) -> int:
    third, fourth = (int(part) for part in address.split(".")[2:])
    return (third - 1) * 254 + fourth - 1

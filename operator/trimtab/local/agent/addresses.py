"""Pod addresses: each pod has its own in the cluster's part of 127.0.0.0/8."""

from __future__ import annotations


class PodAddresses:
    """Hands out 127.N.1.1 to 127.N.254.254 in turn, so that an address rests long before it comes back."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._taken: set[int] = set()
        self._next = 0

    def take(self) -> str:
        """An address that no pod has.

        Raises:
            RuntimeError: Every address is taken.
        """
        room = 254 * 254
        for _ in range(room):
            index = self._next
            self._next = (index + 1) % room
            if index not in self._taken:
                self._taken.add(index)
                return f"{self._prefix}.{index // 254 + 1}.{index % 254 + 1}"
        msg = f"all {room} pod addresses of {self._prefix}.0.0/16 are taken"
        raise RuntimeError(msg)

    def give_back(self, address: str) -> None:
        """Make the address available again."""
        third, fourth = (int(part) for part in address.split(".")[2:])
        self._taken.discard((third - 1) * 254 + fourth - 1)

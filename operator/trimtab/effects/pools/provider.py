"""What every provider of nodes does for a pool, and what can go wrong when it is asked."""

from __future__ import annotations

from typing import Protocol

from trimtab.planning.groups import Group


class ProviderError(Exception):
    """A provider refused or did not answer; it is asked again. `reason` is a condition's, `message` for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Provider(Protocol):
    """A group of nodes at a cloud. Every method may raise `ProviderError`."""

    resizable: bool
    """Whether the group has the size that we give it; otherwise its nodes follow the pods."""

    async def look(self) -> Group:
        """Return what the group is now."""

    async def resize(self, desired: int) -> None:
        """Set the size; only ever such that no machine has to be chosen to go."""

    async def remove(self, instance: str) -> None:
        """Take one machine down, and one off the size; one that is gone already is as good."""

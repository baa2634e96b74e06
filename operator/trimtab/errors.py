"""What can go wrong, named after what happens next.

    TrimtabError
    ├── NotYet        the world is not there yet: Reconciling=True and a retry
    │   └── InsufficientCapacity   no machine of this kind right now
    └── Stalled       retrying cannot help until the spec changes: Stalled=True

Anything else that is raised is a bug: logged with its traceback, retried with back-off, and counted.
"""

from __future__ import annotations


class TrimtabError(Exception):
    """A failure that a user can understand: `reason` is CamelCase, `message` says what, how much, what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class Stalled(TrimtabError):  # noqa: N818 - named after the condition it becomes
    """Retrying cannot help until the spec changes: becomes `Stalled=True`."""


class NotYet(TrimtabError):  # noqa: N818 - named after what happens next
    """The world is not there yet: becomes `Reconciling=True` and a retry.

    `retry_after` is in seconds; None leaves it to the caller's back-off.
    """

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class InsufficientCapacity(NotYet):
    """The cloud has no machine of this type and zone right now."""

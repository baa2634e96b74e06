"""A request that is not answered with tensors: why, in the words of both protocols."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - says what the client hears
    """The answer to a request that cannot be served; `status` is HTTP's."""

    def __init__(self, status: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s

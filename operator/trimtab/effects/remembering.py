"""Answers that are kept for as long as what they were made from is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from trimtab.effects.tables import Table

T = TypeVar("T")


class Remembered(Generic[T]):
    """The last answer to a question that is asked again and again."""

    def __init__(self) -> None:
        self._last: tuple[tuple[object, ...], T] | None = None

    def ask(self, made_from: tuple[object, ...], make: Callable[[], T]) -> T:
        """Return the last answer where `made_from` is equal to that of then, else what `make` returns now."""
        if self._last is None or self._last[0] != made_from:
            self._last = made_from, make()
        return self._last[1]


def stamp(index: Mapping[Any, Any]) -> object:
    """Return what is another one whenever an index changed; for what does not tell, another one each time."""
    return index.changes if isinstance(index, Table) else object()

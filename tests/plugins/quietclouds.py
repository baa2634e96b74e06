"""Clouds that have nothing to say of any pool, for looks at pools without one."""

from __future__ import annotations

from typing import Any


class QuietClouds:
    """No shortage, no node given back, nothing known of a machine; whoever inherits answers the rest."""

    def given_back(self) -> frozenset[str]:
        return frozenset()

    def short(self) -> frozenset[str]:
        return frozenset()

    def shape(self, _: Any) -> None:
        return None

    def conditions(self, *_: Any) -> tuple[()]:
        return ()

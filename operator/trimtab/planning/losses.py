"""Nodes that are gone without a word: neither announced by the provider nor given back by us."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from trimtab.planning.fleet import Node


def lost_nodes(before: Iterable[Node], now: Mapping[str, Node], given_back: Collection[str]) -> list[Node]:
    """Return the nodes of the last look that are missing in this one and that nobody asked to go."""
    return [node for node in before if node.name not in now and not node.doomed and node.name not in given_back]

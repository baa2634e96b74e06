"""Which nodes were lost without a word."""

from trimtab.planning.fleet import Node
from trimtab.planning.losses import lost_nodes


def test_lost_is_what_nobody_announced_or_asked_for() -> None:
    """A node with a notice was announced; one that we gave back is no loss."""
    before = [Node(name, "spot", name == "noticed", ()) for name in ("stays", "noticed", "returned", "lost")]
    found = lost_nodes(before, {"stays": before[0]}, {"returned"})
    assert [node.name for node in found] == ["lost"]

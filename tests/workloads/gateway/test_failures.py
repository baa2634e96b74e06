"""Counts of failed attempts outlive the servers that had them."""

from trimtab.workloads.gateway.failures import Failures
from trimtab.workloads.gateway.observed import Observed, Server, Slot


def seen(**slots):
    """Return what HAProxy says of slots, given as slot=server → failed attempts."""
    return Observed(
        {
            name: Slot({server: Server(1, 4, "UP", "L7OK", failures=count) for server, count in servers.items()})
            for name, servers in slots.items()
        },
        {},
    )


def test_a_look_at_one_slot_leaves_the_others():
    """What is looked at alone adds to what was seen of all."""
    failures = Failures()
    failures.seen(seen(a={"10.0.0.1_r1": 2}, b={"10.0.0.2_r2": 5}))
    failures.seen(seen(a={"10.0.0.1_r1": 3}))
    failures.seen(seen(a={"10.0.0.1_r1": 3}, b={"10.0.0.2_r2": 5}))
    assert failures.totals == {"r1": 3, "r2": 5}


def test_a_server_that_was_added_anew_counts_from_zero():
    """Whether it was seen gone in between or not."""
    failures = Failures()
    failures.seen(seen(a={"10.0.0.1_r1": 4}))
    failures.seen(seen(a={"10.0.0.1_r1": 1}))
    assert failures.totals == {"r1": 5}
    failures.seen(seen(a={}))
    failures.seen(seen(a={"10.0.0.1_r1": 2}))
    assert failures.totals == {"r1": 7}

"""Who leads: never two at once, and never nobody for long."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.planning.leadership import Lease, Seen, Terms, claim, may_claim, release, seconds_left, seen

TERMS = Terms()
START = datetime(2026, 1, 1, tzinfo=UTC)


def lease(holder: str, renewed: str = "r1") -> Lease:
    return Lease(holder=holder, duration_s=15, acquired="a", renewed=renewed, transitions=3)


@pytest.mark.parametrize(
    ("holder", "age", "free"),
    [
        pytest.param("", 0.0, True, id="released"),
        pytest.param("me", 0.0, True, id="ours"),
        pytest.param("other", 14.9, False, id="renewed not long ago"),
        pytest.param("other", 15.0, True, id="run out"),
    ],
)
def test_a_lease_is_free_when_nobody_holds_it_or_it_ran_out(holder: str, age: float, free: bool) -> None:
    """Counted from the first look at this renewal."""
    assert may_claim(Seen(lease(holder), since=100.0), "me", now=100.0 + age) is free


def test_only_a_renewal_makes_a_lease_younger() -> None:
    """Looking again does not, whatever the clocks of others say."""
    first = seen(None, lease("other"), 10.0)
    assert seen(first, lease("other"), 20.0) == first
    assert seen(first, lease("other", "r2"), 20.0).since == 20.0


def test_a_renewal_is_no_transition_and_a_change_of_hands_is() -> None:
    """Both leave the fields that `kubectl get lease` shows true."""
    first = claim(None, "me", TERMS, START)
    assert first == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }
    renewed = claim(Lease.read({"spec": first}), "me", TERMS, START + timedelta(seconds=2))
    assert renewed == {**first, "renewTime": "2026-01-01T00:00:02.000000Z"}
    taken = claim(Lease.read({"spec": renewed}), "other", TERMS, START + timedelta(seconds=30))
    assert (taken["acquireTime"], taken["leaseTransitions"]) == ("2026-01-01T00:00:30.000000Z", 1)
    given_back = Lease.read({"spec": release(Lease.read({"spec": taken}), START)})
    assert (given_back.holder, given_back.transitions) == ("", 1)


@pytest.mark.parametrize("terms", [(15, 15.0, 2.0), (15, 10.0, 10.0), (15, 10.0, 0.0)])
def test_terms_that_let_two_lead_are_refused(terms: tuple[int, float, float]) -> None:
    """The holder must stop before others may start, and must get more than one try."""
    with pytest.raises(ValueError, match="each must be longer than the one before"):
        Terms(*terms)


@dataclass
class Candidate:
    """An operator as far as the Lease is concerned; it may be paused between any two of its steps."""

    name: str
    known: Seen | None = None
    version: int = -1
    asked: float | None = None
    request: tuple[float, int, Lease] | None = None
    answer: tuple[float, Lease] | None = None

    def leads(self, now: float) -> bool:
        return self.asked is not None and seconds_left(self.asked, TERMS, now) > 0


@dataclass
class Server:
    """The API server: one Lease, changed only by whoever saw its latest version."""

    lease: Lease = field(default_factory=lambda: Lease("", 0, "", "", 0))
    version: int = 0


def step(candidate: Candidate, what: str, server: Server, now: float) -> None:
    """One thing that happens to a candidate: it looks, asks, its request arrives, or its answer does."""
    if what == "look":
        candidate.known, candidate.version = seen(candidate.known, server.lease, now), server.version
    elif what == "ask" and candidate.known is not None and may_claim(candidate.known, candidate.name, now):
        spec = claim(candidate.known.lease, candidate.name, TERMS, START + timedelta(seconds=now))
        candidate.request = (now, candidate.version, Lease.read({"spec": spec}))
    elif what == "arrive" and candidate.request is not None:
        asked, version, wanted = candidate.request
        candidate.request = None
        if version == server.version:
            server.lease, server.version = wanted, server.version + 1
            candidate.answer = (asked, wanted)
    elif what == "answer" and candidate.answer is not None:
        candidate.asked, wanted = candidate.answer
        candidate.known, candidate.answer = seen(candidate.known, wanted, now), None


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["look", "ask", "arrive", "answer"]),
            st.sampled_from([0.0, 0.1, 2.0, 5.0, 10.0, 15.0, 60.0]),
        ),
        max_size=60,
    )
)
def test_two_never_lead_at_once(happens: list[tuple[int, str, float]]) -> None:
    """Whatever is late, lost or paused between any two steps."""
    server, candidates, now = Server(), [Candidate(name) for name in "abc"], 0.0
    for who, what, passed in happens:
        now += passed
        step(candidates[who], what, server, now)
        assert sum(candidate.leads(now) for candidate in candidates) <= 1


def test_the_property_could_fail() -> None:
    """A candidate that trusted the Lease's age instead of its own look would lead beside another one."""
    server, a, b = Server(), Candidate("a"), Candidate("b")
    for what in ("look", "ask", "arrive", "answer"):
        step(a, what, server, 0.0)
    step(b, "look", server, 1.0)
    b.known = Seen(server.lease, since=-20.0)
    for what in ("ask", "arrive", "answer"):
        step(b, what, server, 1.0)
    assert a.leads(1.0)
    assert b.leads(1.0)

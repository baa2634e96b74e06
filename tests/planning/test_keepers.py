"""Which models keep a namespace's gateway alive, and how seldom that is written."""

from hypothesis import given
from hypothesis import strategies as st

from trimtab.planning.manifests.gateway import keepers
from trimtab.planning.snapshot import Owner


def owners(count: int) -> list[Owner]:
    return [Owner(f"model-{number}", f"{number * 7919 % 10007:05}") for number in range(count)]


def uids(found: tuple[Owner, ...]) -> set[str]:
    return {owner.uid for owner in found}


def test_a_small_namespace_is_kept_by_all() -> None:
    """Whichever go at once, the gateway of those that stay does not go along."""
    known: set[str] = set()
    for count in range(1, 9):
        known = uids(keepers(owners(count), known))
        assert len(known) == count


def test_models_that_come_cost_few_writes() -> None:
    """Each change of the owners is a write of five objects: a hundred models may not cost a hundred of them."""
    known: set[str] = set()
    changes = 0
    for count in range(1, 101):
        now = uids(keepers(owners(count), known))
        changes += now != known
        known = now
    assert changes <= 12
    assert len(known) >= 32


@given(st.integers(1, 300), st.sets(st.integers(0, 299)))
def test_there_are_always_some_and_never_others(count: int, before: set[int]) -> None:
    """Owners exist, are enough, and stay what they are once they are written."""
    there = owners(count)
    known = {owner.uid for number, owner in enumerate(owners(300)) if number in before}
    found = keepers(there, known)
    assert uids(found) <= {owner.uid for owner in there}
    assert len(found) >= min(count, 8)
    assert 2 * len(found) > min(count, 64)
    assert uids(keepers(there, uids(found))) == uids(found)

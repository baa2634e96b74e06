"""Packing: every pod has room, and nodes are neither too many nor too few."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.planning.packing import Request, fits, lower_bound, new_nodes, without

SMALL = Request(cpu=0.5, memory=2**28)
SIZE = {"cpu": 1.0, "memory": 4.0 * 2**30, "pods": 16.0}
GPUS = {**SIZE, "nvidia.com/gpu": 3.0}

requests = st.builds(
    Request,
    st.integers(1, 10).map(lambda tenths: tenths / 10),
    st.integers(0, 4).map(lambda gib: gib * 2.0**30),
    st.sampled_from([{}, {}, {"nvidia.com/gpu": 1.0}, {"nvidia.com/gpu": 2.0}]),
)
rooms = st.lists(
    st.tuples(st.integers(0, 10), st.integers(0, 4), st.integers(0, 3)).map(
        lambda free: {
            "cpu": free[0] / 10,
            "memory": free[1] * 2.0**30,
            "pods": 10.0,
            "nvidia.com/gpu": float(free[2]),
        }
    ),
    max_size=3,
)


@pytest.mark.parametrize(
    ("asked", "nodes"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([SMALL] * 2, 1, id="exactly one"),
        pytest.param([SMALL] * 3, 2, id="one more"),
        pytest.param([Request(0.7, 1), Request(0.7, 1), Request(0.3, 1), Request(0.3, 1)], 2, id="large ones first"),
        pytest.param([Request(2.0, 1)], 0, id="fits no node"),
        pytest.param([Request(0.01, 1)] * 17, 2, id="pod slots count"),
        pytest.param([Request(0.1, 3 * 2**30)] * 2, 2, id="memory counts"),
        # By CPU first, the two large in memory would meet nobody: another order finds the pairs.
        pytest.param([Request(0.6, 2**30), Request(0.5, 2**30), Request(0.4, 3 * 2**30), Request(0.5, 3 * 2**30)], 2),
    ],
)
def test_new_nodes(asked: list[Request], nodes: int) -> None:
    """Packed by CPU, memory and pod slots."""
    assert new_nodes(asked, SIZE) == nodes


def test_devices_are_packed_like_cpus() -> None:
    """Two of three devices each: a node's third stays free; a node without any takes nobody who wants one."""
    two, one = (Request(0.1, 1, {"nvidia.com/gpu": count}) for count in (2.0, 1.0))
    assert new_nodes([one, two, two, one], GPUS) == 2
    assert new_nodes([two, one], SIZE) == 0


@given(st.integers(0, 40))
def test_equal_replicas_are_packed_exactly(count: int) -> None:
    """Two replicas of half a CPU per node."""
    assert new_nodes([SMALL] * count, SIZE) == -(-count // 2)


@given(st.lists(requests, max_size=25), rooms)
def test_never_fewer_than_must_be(asked: list[Request], free: list[dict[str, float]]) -> None:
    """The scarcest resource alone asks for as many; room that is there may make it none."""
    placeable = [request for request in asked if fits(GPUS, request) or any(fits(room, request) for room in free)]
    found = new_nodes(asked, GPUS, free)
    assert lower_bound(placeable, GPUS, free) <= found <= len(asked)
    assert found <= new_nodes(asked, GPUS)


@given(st.lists(st.integers(1, 10), max_size=30))
def test_one_resource_within_the_bound_of_first_fit_decreasing(tenths: list[int]) -> None:
    """At most 11/9 of what must be, and 6/9 (Dosa 2007); the lower bound stands for the optimum where they agree."""
    asked = [Request(count / 10, 1.0) for count in tenths]
    found = new_nodes(asked, SIZE)
    plain = first_fit_decreasing(tenths)
    assert found <= plain
    assert lower_bound(asked, SIZE) <= found


def first_fit_decreasing(tenths: list[int]) -> int:
    bins: list[int] = []
    for count in sorted(tenths, reverse=True):
        index = next((i for i, used in enumerate(bins) if used + count <= 10), None)
        if index is None:
            bins.append(count)
        else:
            bins[index] += count
    return len(bins)


@given(st.lists(requests, min_size=1, max_size=5), rooms.map(lambda some: some[:1]))
def test_small_cases_against_every_possibility(asked: list[Request], free: list[dict[str, float]]) -> None:
    """Never fewer nodes than can hold them, and at most one more than the best way."""
    placeable = [request for request in asked if fits(GPUS, request)]
    best = exact(placeable, free)
    assert best <= new_nodes(placeable, GPUS, free) <= best + 1


def exact(asked: list[Request], free: list[dict[str, float]]) -> int:
    for count in range(len(asked) + 1):
        places = [*free, *[GPUS] * count]
        for choice in product(range(len(places)), repeat=len(asked)) if places or not asked else ():
            left = [
                without(place, [r for r, at in zip(asked, choice, strict=True) if at == i])
                for i, place in enumerate(places)
            ]
            if all(amount >= -1e-6 for room in left for amount in room.values()):
                return count
    raise AssertionError("each request fits a node of its own")

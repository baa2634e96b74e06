"""What a node group decides, with time as an argument."""

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.nodegroups.definition import INTERRUPTION_TAINT, TERMINATES_AT
from trimtab.local.nodegroups.plan import plan_group

START = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """Carries plans out on plain dictionaries."""

    def __init__(self, **spec):
        self.group = {"metadata": {"name": "g", "generation": 1}, "spec": {"bootDelay": "5s", "notice": "120s", **spec}}
        self.nodes = {}
        self.busy = {}
        self.now = START
        self.names = (f"g-{i:03d}" for i in itertools.count())

    def step(self, seconds=0.0):
        self.now += timedelta(seconds=seconds)
        plan = plan_group(self.group, self.nodes, self.busy, self.now, lambda: next(self.names))
        self.group["status"] = plan.status
        for machine in plan.register:
            self.nodes[machine.name] = {"metadata": {"name": machine.name}, "spec": {}}
        for name, end in plan.notify:
            self.nodes[name]["metadata"]["annotations"] = {TERMINATES_AT: end.isoformat()}
        for name in plan.remove:
            del self.nodes[name]
        return plan

    def phases(self):
        return {n["name"]: n["phase"] for n in self.group["status"]["nodes"]}

    def zones(self):
        return sorted(n["zone"] for n in self.group["status"]["nodes"])

    def interrupt(self, name):
        self.nodes[name]["spec"]["taints"] = [{"key": INTERRUPTION_TAINT, "effect": "NoSchedule"}]


def test_machines_boot_after_their_delay_and_spread():
    """A node appears once its boot delay is over, zones with fewest nodes first."""
    world = World(desired=3, zones=["a", "b"])
    assert world.step().requeue_after == 5
    assert (set(world.phases().values()), world.nodes) == ({"Booting"}, {})
    assert world.zones() == ["a", "a", "b"]
    world.step(5)
    assert len(world.nodes) == 3


def test_an_interrupted_machine_counts_until_it_is_gone():
    """No replacement before the deadline, one at the deadline."""
    world = World(desired=1, zones=["a"])
    world.step()
    world.step(5)
    world.interrupt("g-000")
    plan = world.step(1)
    assert plan.notify == (("g-000", START + timedelta(seconds=126)),)
    assert world.phases() == {"g-000": "Interrupted"}
    assert world.step(119).remove == ()
    assert world.step(1).remove == ("g-000",)
    assert world.phases() == {"g-001": "Booting"}


def test_an_interruption_can_be_taken_back():
    """Without the taint the machine stays."""
    world = World(desired=1)
    world.step()
    world.step(5)
    world.interrupt("g-000")
    world.step()
    world.nodes["g-000"]["spec"]["taints"] = []
    world.nodes["g-000"]["metadata"]["annotations"] = {}
    world.step(500)
    assert world.phases() == {"g-000": "Ready"}


def test_scale_in_prefers_victims_then_the_idle_then_the_newest():
    """The order in which machines go."""
    world = World(desired=4)
    world.step()
    world.step(5)
    world.busy = {name: [{}] for name in ("g-000", "g-001", "g-003")}
    world.group["spec"] |= {"desired": 3, "victims": ["g-001"]}
    assert world.step().drain == ("g-001",)
    world.group["spec"] |= {"desired": 2, "victims": []}
    assert world.step().remove == ()
    assert world.phases()["g-002"] == "Draining"
    assert world.step().remove == ("g-002",)


def test_draining_ends_after_a_minute():
    """A pod that does not go in time goes with its machine."""
    world = World(desired=1)
    world.step()
    world.step(5)
    world.busy = {"g-000": [{}]}
    world.group["spec"]["desired"] = 0
    world.step()
    assert world.step(59).remove == ()
    assert world.step(1).remove == ("g-000",)


def test_an_interrupted_victim_goes_as_soon_as_it_is_empty():
    """Once its replacement is ordered elsewhere, a doomed machine is given back without waiting for its deadline."""
    world = World(desired=2)
    world.step()
    world.step(5)
    world.busy = {"g-000": [{}]}
    world.interrupt("g-000")
    world.step(1)
    world.group["spec"] |= {"desired": 1, "victims": ["g-000"]}
    assert world.step(1).drain == ("g-000",)
    assert world.step(1).remove == ()
    world.busy = {}
    assert world.step(1).remove == ("g-000",)
    assert world.phases() == {"g-001": "Ready"}


def test_a_machine_that_somebody_deleted_is_replaced():
    """What is not there does not count."""
    world = World(desired=1)
    world.step()
    world.step(5)
    world.nodes.clear()
    world.step()
    assert world.phases() == {"g-001": "Booting"}


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("desired"), st.integers(0, 6)),
            st.tuples(st.just("interrupt"), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.integers(1, 200)),
            st.tuples(st.just("unavailable"), st.sampled_from([[], ["a"], ["a", "b"]])),
        ),
        max_size=25,
    )
)
def test_a_group_always_comes_to_its_size(steps):
    """Whatever happens, once a zone is there and time passes the group has its nodes, none too many."""
    world = World(desired=2, zones=["a", "b"])
    for what, value in steps:
        if what == "desired":
            world.group["spec"]["desired"] = value
        elif what == "unavailable":
            world.group["spec"]["unavailableZones"] = value
        elif what == "interrupt" and value < len(world.nodes):
            world.interrupt(sorted(world.nodes)[value])
        world.step(value if what == "wait" else 0)
    world.group["spec"]["unavailableZones"] = []
    for _ in range(6):
        world.step(130)
    assert len(world.nodes) == world.group["spec"]["desired"]
    assert set(world.phases().values()) <= {"Ready"}

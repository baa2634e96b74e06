"""Runtime commands: from what HAProxy does to what it should do."""

import re

from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.serving import Policy
from trimtab.planning.traffic import Duty, Endpoint, ModelTraffic
from trimtab.workloads.gateway.difference import Difference, difference, routes_of
from trimtab.workloads.gateway.observed import ANY_MODEL, Observed, Server, Slot

SLOT = "roundrobin-r3-00"
PATH = f"{SLOT}/10.0.0.1:8080_r1"


def an_endpoint(number=1, duty=Duty.ACTIVE, weight=None):
    weight = int(duty is Duty.ACTIVE) if weight is None else weight
    return Endpoint(f"10.0.0.{number}:8080", f"p{number}", "n", "r1", duty, weight)


LEAVING = frozenset({"digits"})


def traffic(*endpoints, model="digits"):
    return (ModelTraffic(model, Policy.ROUND_ROBIN, 3, endpoints),)


def a_server(**changes):
    return Server(**({"weight": 1, "limit": 8, "status": "UP", "check": "L7OK"} | changes))


def seen(servers=None, *, routes=None, **slots):
    servers = {f"10.0.0.{number}:8080_r1": server for number, server in (servers or {}).items()}
    routes = {ANY_MODEL: "-", "digits": SLOT} if routes is None else routes
    return Observed({SLOT: Slot(servers=servers), **slots}, routes)


def step(wanted, now, limits=None):
    return difference(wanted, {item.model: SLOT for item in wanted}, now, limits or {})


def test_a_new_replica_is_added_checked_and_enabled():
    """It starts in maintenance, without health checks, whatever `add server` says."""
    commands = step(traffic(an_endpoint()), seen()).commands
    assert commands[0].startswith(f"add server {PATH} 10.0.0.1:8080 weight 1 maxconn 8 check ")
    assert commands[1:] == (f"enable health {PATH}", f"enable server {PATH}")


def test_a_replica_on_standby_is_added_without_weight():
    """It is checked before it gets requests."""
    assert " weight 0 " in step(traffic(an_endpoint(duty=Duty.STANDBY)), seen()).commands[0]


def test_nothing_is_added_that_would_be_drained():
    """Neither a booting nor a leaving replica becomes a server."""
    for duty in (Duty.STARTING, Duty.DRAIN):
        assert step(traffic(an_endpoint(duty=duty)), seen()) == Difference(())


def test_nothing_to_do():
    """In step means no command; its own limit counts as soon as it is known."""
    assert step(traffic(an_endpoint()), seen({1: a_server()})).commands == ()
    assert step(traffic(an_endpoint()), seen({1: a_server(limit=3)})).commands == ()
    known = step(traffic(an_endpoint()), seen({1: a_server()}), {"10.0.0.1:8080": 2})
    assert known.commands == (f"set maxconn server {PATH} 2",)


def test_draining_is_weight_0():
    """Never drain mode or maintenance, which throw away the queue."""
    for duty in (Duty.DRAIN, Duty.STANDBY, Duty.STARTING):
        assert step(traffic(an_endpoint(duty=duty)), seen({1: a_server()})).commands == (f"set server {PATH} weight 0",)


def test_a_rise_from_0_wakes_the_queue():
    """2.6 never empties a queue that stood while all weights were 0, unless maxconn is set."""
    commands = step(traffic(an_endpoint()), seen({1: a_server(weight=0)})).commands
    assert commands == (f"set server {PATH} weight 1", f"set maxconn server {PATH} 8")


def test_a_replica_that_comes_back_from_maintenance():
    """Left in maintenance by a deletion or a crashed agent, it is enabled again."""
    commands = step(traffic(an_endpoint()), seen({1: a_server(weight=0, status="MAINT")})).commands
    assert commands[-2:] == (f"enable health {PATH}", f"enable server {PATH}")


def test_a_server_without_endpoint_goes_in_two_steps():
    """Weight 0 first; deleted when a later look finds it idle."""
    first = step(traffic(), seen({1: a_server()}))
    assert first == Difference((f"set server {PATH} weight 0",), LEAVING)
    busy = step(traffic(), seen({1: a_server(weight=0, in_flight=1)}))
    assert busy == Difference((), LEAVING)
    idle = step(traffic(), seen({1: a_server(weight=0)}))
    assert idle == Difference((f"disable server {PATH}", f"del server {PATH}"), LEAVING)


def test_new_before_old():
    """A replacement takes over before the one it replaces is lowered."""
    commands = step(traffic(an_endpoint(1, Duty.DRAIN), an_endpoint(2)), seen({1: a_server()})).commands
    assert commands[0].startswith(f"add server {SLOT}/10.0.0.2:8080_r1")
    assert commands[-1] == f"set server {PATH} weight 0"


def test_a_moved_model():
    """Servers first, then the route, and the old slot's servers keep their weight until it is empty."""
    old = "leastconn-r3-00"
    wanted = traffic(an_endpoint())
    busy = Slot(servers={"10.0.0.1:8080_r1": a_server()}, sessions=2, queued=1)
    moving = seen(routes={ANY_MODEL: "-", "digits": old}, **{old: busy})
    commands = step(wanted, moving).commands
    assert commands[-1] == f"set map models.map digits {SLOT}"
    assert not any(old in command for command in commands)
    moved = seen({1: a_server()}, **{old: busy})
    assert step(wanted, moved) == Difference((), retiring=True)
    empty = seen({1: a_server()}, **{old: Slot(servers=busy.servers)})
    assert step(wanted, empty).commands == (
        f"disable server {old}/10.0.0.1:8080_r1",
        f"del server {old}/10.0.0.1:8080_r1",
    )


def test_routes_follow_the_models():
    """A deleted model's route goes; the last one takes the mark that there are any along."""
    gone = difference((), {}, seen(), {})
    assert gone.commands == (f"del map models.map {ANY_MODEL}", "del map models.map digits")
    new = step(traffic(), seen(routes={}))
    assert new.commands == (f"add map models.map {ANY_MODEL} -", f"add map models.map digits {SLOT}")


class Simulated:
    """HAProxy's side of the commands, as 2.6.12 and 2.8.25 showed it; refuses what they refuse."""

    def __init__(self, servers):
        self.servers = dict(servers)
        self.routes = {}

    def run(self, command):
        match command.split():
            case ["add", "server", path, _, "weight", weight, "maxconn", limit, *_]:
                name = path.split("/")[1]
                assert name not in self.servers
                self.servers[name] = a_server(weight=int(weight), limit=int(limit), status="MAINT")
            case ["enable", "health", path]:
                assert path.split("/")[1] in self.servers
            case ["enable", "server", path]:
                self.change(path, status="UP")
            case ["disable", "server", path]:
                self.change(path, status="MAINT")
            case ["set", "server", path, "weight", weight]:
                self.change(path, weight=int(weight))
            case ["set", "maxconn", "server", path, limit]:
                self.change(path, limit=int(limit))
            case ["del", "server", path]:
                server = self.servers.pop(path.split("/")[1])
                assert server.in_maintenance
                assert server.idle
            case ["add" | "set", "map", _, key, value]:
                self.routes[key] = value
            case ["del", "map", _, key]:
                del self.routes[key]
            case _:
                raise AssertionError(command)

    def change(self, path, **changes):
        name = path.split("/")[1]
        old = {field: getattr(self.servers[name], field) for field in Server.__slots__}
        self.servers[name] = Server(**(old | changes))


servers = st.dictionaries(
    st.integers(1, 4).map("10.0.0.{}:8080_r1".format),
    st.builds(
        a_server, weight=st.integers(0, 3), limit=st.sampled_from([2, 8]), status=st.sampled_from(["UP", "MAINT"])
    ),
)
replicas_duties = st.sampled_from([duty for duty in Duty if duty is not Duty.HOLD])
wanted_endpoints = st.lists(
    st.builds(an_endpoint, st.integers(1, 4), replicas_duties), unique_by=lambda e: e.address, max_size=4
) | st.just([Endpoint("unix@hold.digits.sock", "", "", "", Duty.HOLD, 1)])


@given(servers, wanted_endpoints, st.dictionaries(st.integers(1, 4).map("10.0.0.{}:8080".format), st.integers(1, 9)))
def test_it_converges(before, endpoints, limits):
    """From any state two steps lead to the wanted one, without a refused command, and then there is nothing to do."""
    wanted = traffic(*endpoints)
    haproxy = Simulated(before)
    for _ in range(2):
        state = Observed({SLOT: Slot(servers=dict(haproxy.servers))}, dict(haproxy.routes))
        for command in step(wanted, state, limits).commands:
            haproxy.run(command)
    state = Observed({SLOT: Slot(servers=dict(haproxy.servers))}, dict(haproxy.routes))
    assert step(wanted, state, limits) == Difference(())
    assert haproxy.routes == routes_of({"digits": SLOT})
    for endpoint in endpoints:
        if endpoint.admitted:
            server = haproxy.servers[endpoint.server]
            assert (server.weight, server.status) == (endpoint.weight, "UP")
            assert server.limit == limits.get(endpoint.address, server.limit)
    drained = {e.server for e in endpoints if not e.admitted}
    assert all(haproxy.servers[name].weight == 0 for name in drained & haproxy.servers.keys())


@given(servers, wanted_endpoints)
def test_someone_always_serves(before, endpoints):
    """As long as one may serve before and after, there is no moment without any."""
    haproxy = Simulated(before)
    wanted = traffic(*endpoints)

    def serving():
        return any(server.weight > 0 and server.up for server in haproxy.servers.values())

    if not serving() or not any(endpoint.weight for endpoint in endpoints):
        return
    for command in step(wanted, Observed({SLOT: Slot(servers=before)}, {})).commands:
        haproxy.run(command)
        assert serving(), command


def test_commands_fit_on_a_line():
    """HAProxy ends a command at a semicolon or a line's end; a name with one would start another command."""
    for command in step(traffic(an_endpoint()), seen(routes={})).commands:
        assert not re.search(r"[;\n]", command)

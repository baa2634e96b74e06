"""Pods as real processes: what the node agent does with them."""

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest

from trimtab.local.statuses import ApiError

pytestmark = pytest.mark.integration


def terminated(pod, container=0):
    return pod["status"]["containerStatuses"][container]["state"]["terminated"]


@pytest.mark.parametrize(
    ("script", "phase", "code", "reason"),
    [
        pytest.param("exit 0", "Succeeded", 0, "Completed", id="success"),
        pytest.param("exit 3", "Failed", 3, "Error", id="failure"),
        pytest.param("kill -9 $$$$", "Failed", 137, "Error", id="killed"),
    ],
)
async def test_a_pod_ends_as_its_process_does(embedded, script, phase, code, reason):
    """Exit codes and signals become the phase and the terminated state."""
    embedded.run_pod("p", script)
    pod = await embedded.pod("p", phase)
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (code, reason)


@pytest.mark.parametrize(
    ("script", "policy", "message"),
    [
        pytest.param("printf done > /dev/termination-log; exit 1", "File", "done", id="by its path"),
        pytest.param('printf done > "$TERMINATION_MESSAGE_PATH"', "File", "done", id="by the variable"),
        pytest.param("echo last words; exit 1", "FallbackToLogsOnError", "last words\n", id="from the log"),
        pytest.param("echo last words; exit 1", "File", None, id="none"),
        pytest.param("head -c 9000 /dev/zero | tr '\\0' x > /dev/termination-log", "File", "x" * 4096, id="cut"),
    ],
)
async def test_termination_messages(embedded, script, policy, message):
    """A container says its last word in a file, or its log does where it failed."""
    embedded.run_pod("p", script, container={"terminationMessagePolicy": policy})
    pod = await embedded.until(
        lambda: (p := embedded.get("pods", "p"))["status"].get("phase") in ("Succeeded", "Failed") and p
    )
    assert terminated(pod).get("message") == message


@pytest.mark.parametrize(
    ("container", "reason", "words"),
    [
        pytest.param({"image": "nginx:1", "command": None}, "ErrImagePull", "maps to no command", id="image"),
        pytest.param({"image": "buzybox:1"}, "ErrImagePull", "maps to no command", id="image beside a command"),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k"}}}]},
            "CreateContainerConfigError",
            'configmap "no" not found',
            id="configmap",
        ),
    ],
)
async def test_what_cannot_start_says_why(embedded, container, reason, words):
    """A mistake in the spec is a waiting reason with a message, not a crash."""
    embedded.run_pod("p", "true", container=container)

    def waiting():
        statuses = embedded.get("pods", "p")["status"].get("containerStatuses") or [{"state": {}}]
        found = statuses[0]["state"].get("waiting") or {}
        return found if found.get("reason") == reason else None

    assert words in (await embedded.until(waiting))["message"]


@pytest.mark.parametrize(
    ("container", "words"),
    [
        pytest.param({"command": None}, "the container needs `command`", id="no command"),
        pytest.param({"command": ["no-such-program"]}, '"no-such-program": executable file not found', id="no program"),
        pytest.param({"workingDir": "/no/such/folder"}, "workingDir '/no/such/folder' is not a directory", id="folder"),
    ],
)
async def test_what_cannot_be_run_ends_with_the_reason(embedded, container, words):
    """A command that cannot be started is a failure of the container, in words a user can act on."""
    embedded.run_pod("p", "true", container=container)
    pod = await embedded.pod("p", "Failed")
    assert terminated(pod)["reason"] == "StartError"
    assert words in terminated(pod)["message"]


def events(embedded, reason):
    """Type, part and message of the events with that reason, in order."""
    found = [e for e in embedded.list("events") if e["reason"] == reason]
    return [(e["type"], e["involvedObject"].get("fieldPath", ""), e["message"]) for e in found]


async def test_restarts_back_off_and_keep_the_previous_log(embedded):
    """A container that fails is started again, later and later; its last log can still be read."""
    embedded.run_pod("p", "echo run; exit 1", spec={"restartPolicy": "Always"})

    def restarted():
        status = embedded.get("pods", "p")["status"]["containerStatuses"][0]
        waiting = status["state"].get("waiting") or {}
        return status if status["restartCount"] >= 2 and waiting.get("reason") == "CrashLoopBackOff" else None

    await embedded.until(lambda: "containerStatuses" in embedded.get("pods", "p")["status"])
    status = await embedded.until(restarted)
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert await embedded.log("p", previous=True) == "run\n"


SERVER = """
import http.server, os, sys, threading
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die": os._exit(1)
        self.send_response(int(open(sys.argv[1]).read()))
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer((os.environ["IP"], 8080), Answer).serve_forever()
"""


def server(tmp_path, probes, **spec):
    """A container that answers with the status that stands in a file."""
    (tmp_path / "status").write_text("200")
    ip = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    answer = {"image": "python:3", "command": None, "args": ["-c", SERVER, str(tmp_path / "status")], "env": [ip]}
    return {**answer, "ports": [{"name": "http", "containerPort": 8080}], **probes}, spec


async def test_readiness_follows_the_probe(embedded, tmp_path):
    """A pod is ready while its probe succeeds, and only then."""
    probe = {"httpGet": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
    container, _ = server(tmp_path, {"readinessProbe": probe})
    embedded.run_pod("p", "", container=container)

    def ready(status):
        def asked():
            conditions = {c["type"]: c["status"] for c in embedded.get("pods", "p")["status"].get("conditions") or ()}
            return conditions.get("Ready") == status

        return asked

    await embedded.until(ready("True"))
    (tmp_path / "status").write_text("503")
    await embedded.until(ready("False"))


async def test_exec_probes_run_in_the_container(embedded, tmp_path):
    """A command's exit code is as good as an HTTP status, and the schema keeps it."""
    flag = tmp_path / "ready"
    probe = {"exec": {"command": ["test", "-e", str(flag)]}, "periodSeconds": 1, "failureThreshold": 1}
    embedded.run_pod("checked", "sleep 60", container={"readinessProbe": probe})
    await embedded.pod("checked", "Running")

    def ready():
        status = embedded.get("pods", "checked")["status"]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])

    assert not ready()
    flag.touch()
    await embedded.until(ready)


async def test_liveness_restarts_the_container(embedded, tmp_path):
    """A container whose liveness probe fails is ended and started again."""
    probe = {"httpGet": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 2}
    container, spec = server(
        tmp_path, {"livenessProbe": probe}, restartPolicy="Always", terminationGracePeriodSeconds=1
    )
    embedded.run_pod("p", "", container=container, spec=spec)
    await embedded.pod("p", "Running")
    (tmp_path / "status").write_text("500")
    await embedded.until(lambda: embedded.get("pods", "p")["status"]["containerStatuses"][0]["restartCount"] >= 1)


async def test_a_startup_probe_holds_the_others_back(embedded, tmp_path):
    """A container that is slow to start is not ready before it has started."""
    startup = {"httpGet": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 30}
    container, _ = server(tmp_path, {"startupProbe": startup})
    (tmp_path / "status").write_text("503")
    embedded.run_pod("p", "", container=container)
    pod = await embedded.pod("p", "Running")
    assert not pod["status"]["containerStatuses"][0]["started"]
    (tmp_path / "status").write_text("200")
    await embedded.until(lambda: embedded.get("pods", "p")["status"]["containerStatuses"][0]["ready"])


async def test_init_containers_run_first_and_in_order(embedded):
    """Main containers start when every init container has succeeded."""
    mount = {"volumeMounts": [{"name": "w", "mountPath": "/w"}]}
    inits = [
        {"name": n, "image": "busybox", "command": ["sh", "-c", f"echo {n} >> /w/order"], **mount} for n in ("a", "b")
    ]
    spec = {"initContainers": inits, "volumes": [{"name": "w", "emptyDir": {}}]}
    embedded.run_pod("p", "cat /w/order", container=mount, spec=spec)
    await embedded.pod("p", "Succeeded")
    assert await embedded.log("p") == "a\nb\n"


async def test_grace_lets_a_process_finish(embedded):
    """SIGTERM comes after preStop, and a process that ends in time ends by itself."""
    script = "trap 'echo term; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    hook = {"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}
    embedded.run_pod("p", script, container=hook)
    await embedded.pod("p", "Running")
    pieces = []

    async def follow():
        async for piece in embedded.registry.pod_logs("default", "p", follow=True):
            pieces.append(piece)

    following = asyncio.create_task(follow())
    await embedded.until(lambda: b"".join(pieces) == b"up\n")
    embedded.registry.delete("pods", "p", "default", grace_seconds=20)
    await embedded.until(lambda: embedded.get("pods", "p") is None)
    await asyncio.wait_for(following, 60)
    assert b"".join(pieces) == b"up\nterm\n"


async def test_a_deaf_process_is_killed_with_everything_it_started(embedded):
    """After the grace period nothing of the pod is left, not even what has left its session."""
    script = "trap '' TERM; setsid sleep 4321 & sleep 4322 & echo $$ $!; while :; do sleep 0.1; done"
    embedded.run_pod("p", script)
    await embedded.pod("p", "Running")
    await embedded.until(lambda: _processes("sleep\0004321"))
    embedded.registry.delete("pods", "p", "default", grace_seconds=1)
    await embedded.until(lambda: embedded.get("pods", "p") is None)
    assert not _processes("sleep\0004321")
    assert not _processes("sleep\0004322")


def _processes(command_line):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if command_line.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


async def test_questions_about_logs_that_cannot_be_answered(embedded):
    """The answer says what is wrong, in kubectl's words."""
    embedded.run_pod("p", "true")
    await embedded.pod("p", "Succeeded")
    with pytest.raises(ApiError, match="container other is not valid for pod p"):
        await embedded.log("p", container="other")
    with pytest.raises(ApiError, match='previous terminated container "main" in pod "p" not found'):
        await embedded.log("p", previous=True)


async def test_logs_by_tail_and_limit(embedded):
    """`--tail`, `--limit-bytes` and `--timestamps` do what kubectl promises."""
    embedded.run_pod("p", "for i in 1 2 3; do echo line $i; done")
    await embedded.pod("p", "Succeeded")
    assert await embedded.log("p", tail_lines=2) == "line 2\nline 3\n"
    assert await embedded.log("p", tail_lines=0) == ""
    assert await embedded.log("p", limit_bytes=4) == "line"
    assert (await embedded.log("p", timestamps=True)).splitlines()[0].endswith("Z line 1")


@pytest.mark.parametrize(("policy", "phase"), [("Never", "Failed"), ("Always", "Running")])
async def test_a_container_over_its_memory_limit_is_killed(embedded, policy, phase):
    """Exit code 137 and OOMKilled, and the restart policy decides what comes then."""
    container = {
        "image": "python:3",
        "command": None,
        "args": ["-c", "import time; x = bytearray(96 * 2**20); time.sleep(60)"],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    embedded.run_pod("p", "", container=container, spec={"restartPolicy": policy})

    def killed():
        status = (embedded.get("pods", "p")["status"].get("containerStatuses") or [{}])[0]
        return (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get("terminated")

    ended = await embedded.until(killed)
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    assert embedded.get("pods", "p")["status"]["phase"] == phase


async def test_a_container_below_its_memory_limit_runs(embedded):
    """Nobody is killed for what it may use."""
    embedded.run_pod("p", "sleep 1.2", container={"resources": {"limits": {"memory": "64Mi"}}})
    await embedded.pod("p", "Succeeded")


async def test_events_of_a_pod_read_as_kubelets(embedded):
    """What `kubectl describe` shows below a pod."""
    embedded.run_pod("p", "sleep 60", spec={"terminationGracePeriodSeconds": 0})
    await embedded.pod("p", "Running")
    part = "spec.containers{main}"
    image = 'Container image "busybox" already present on machine and can be accessed by the pod'
    assert events(embedded, "Pulled") == [("Normal", part, image)]
    assert events(embedded, "Created") == [("Normal", part, "Container created")]
    assert events(embedded, "Started") == [("Normal", part, "Container started")]
    embedded.registry.delete("pods", "p", "default", grace_seconds=1)
    assert await embedded.until(lambda: events(embedded, "Killing")) == [("Normal", part, "Stopping container main")]


async def test_readiness_gates_are_waited_for(embedded):
    """A pod whose containers are ready is ready once others say so too."""
    embedded.run_pod("p", "sleep 60", spec={"readinessGates": [{"conditionType": "example.com/fine"}]})
    pod = await embedded.pod("p", "Running")

    def condition(kind):
        return next(c for c in embedded.get("pods", "p")["status"]["conditions"] if c["type"] == kind)

    assert condition("ContainersReady")["status"] == "True"
    words = 'corresponding condition of pod readiness gate "example.com/fine" does not exist.'
    assert (condition("Ready")["reason"], condition("Ready")["message"]) == ("ReadinessGatesNotReady", words)
    pod = embedded.get("pods", "p")
    conditions = [*pod["status"]["conditions"], {"type": "example.com/fine", "status": "True"}]
    embedded.registry.update(
        "pods", {**pod, "status": {**pod["status"], "conditions": conditions}}, subresource="status"
    )
    await embedded.until(lambda: condition("Ready")["status"] == "True")


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        pytest.param(
            {"httpGet": {"port": 9}}, 'Get "http://{ip}:9/": dial tcp {ip}:9: connect: connection refused', id="http"
        ),
        pytest.param({"tcpSocket": {"port": 9}}, "dial tcp {ip}:9: connect: connection refused", id="tcp"),
        pytest.param({"exec": {"command": ["sh", "-c", "echo no; exit 1"]}}, "no\n", id="exec"),
        pytest.param(
            {"exec": {"command": ["sleep", "9"]}}, 'command timed out: "sleep 9" timed out after 1s', id="exec timeout"
        ),
    ],
)
async def test_a_failing_probe_says_so_in_kubelets_words(embedded, probe, words):
    """Go's error texts are what people search for."""
    embedded.run_pod("p", "sleep 60", container={"livenessProbe": {**probe, "failureThreshold": 9}})
    found = await embedded.until(lambda: events(embedded, "Unhealthy"))
    ip = embedded.get("pods", "p")["status"]["podIP"]
    assert found[0][2] == "Liveness probe failed: " + words.format(ip=ip)


async def test_a_probe_has_its_own_grace_period(embedded):
    """A deaf container that fails its liveness probe does not wait for the pod's grace period; it is told once."""
    probe = {
        "exec": {"command": ["false"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
        "terminationGracePeriodSeconds": 1,
    }
    embedded.run_pod(
        "p",
        "trap '' TERM; while :; do sleep 0.1; done",
        container={"livenessProbe": probe},
        spec={"restartPolicy": "Always"},
    )
    await embedded.until(
        lambda: (embedded.get("pods", "p")["status"].get("containerStatuses") or [{}])[0].get("restartCount")
    )
    words = "Container main failed liveness probe, will be restarted"
    assert events(embedded, "Killing")[0] == ("Normal", "spec.containers{main}", words)


async def test_crash_loop_messages_name_the_pod(embedded):
    """The waiting message has the real length of the back-off, whatever the scale."""
    embedded.run_pod("p", "exit 1", spec={"restartPolicy": "Always"})

    def waiting():
        status = (embedded.get("pods", "p")["status"].get("containerStatuses") or [{"state": {}}])[0]
        found = status["state"].get("waiting") or {}
        return found.get("message") if found.get("reason") == "CrashLoopBackOff" else None

    uid = embedded.get("pods", "p")["metadata"]["uid"]
    message = await embedded.until(waiting)
    assert message.partition(" restarting ")[2] == f"failed container=main pod=p_default({uid})"
    assert message.split()[1] in ("10s", "20s", "40s", "1m20s", "2m40s", "5m0s")


async def test_the_log_of_a_crash_is_the_previous_one_too(embedded):
    """While a container waits to run again, `--previous` is its only run."""
    embedded.run_pod("p", "echo run $$$$; exit 1", spec={"restartPolicy": "Always"})

    def waiting():
        status = (embedded.get("pods", "p")["status"].get("containerStatuses") or [{"state": {}}])[0]
        return (status["state"].get("waiting") or {}).get("reason") == "CrashLoopBackOff" and status["restartCount"]

    await embedded.until(waiting)
    assert await embedded.log("p", previous=True) == await embedded.log("p")


async def test_a_log_ends_as_the_container_did(embedded):
    """No newline is added, and a long line stays one."""
    embedded.run_pod("p", "head -c 40000 /dev/zero | tr '\\0' x; echo; printf end")
    await embedded.pod("p", "Succeeded")
    assert await embedded.log("p") == "x" * 40_000 + "\nend"


async def test_a_pod_on_the_hosts_network_has_the_nodes_address(embedded):
    """And gives no address of the pods' back when it goes."""
    embedded.run_pod("p", "true", spec={"hostNetwork": True})
    pod = await embedded.pod("p", "Succeeded")
    assert pod["status"]["podIP"] == pod["status"]["hostIP"]


async def test_sidecars_start_one_after_the_other_and_end_in_reverse(embedded):
    """The next one waits for a start-up probe; the containers go first, then the last sidecar, then the first."""

    def sidecar(name, **more):
        script = f"trap 'echo {name} >> /w/ends; exit 0' TERM; sleep 0.2; echo {name} >> /w/starts; touch /w/{name}"
        command = ["sh", "-c", f"{script}; while :; do sleep 0.05; done"]
        probe = {"exec": {"command": ["test", "-e", f"/w/{name}"]}, "periodSeconds": 1, "failureThreshold": 30}
        mounts = [{"name": "w", "mountPath": "/w"}]
        base = {"name": name, "image": "busybox", "command": command, "volumeMounts": mounts}
        return {**base, "restartPolicy": "Always", "startupProbe": probe, **more}

    shared = await asyncio.to_thread(tempfile.mkdtemp, prefix="tt")
    try:
        embedded.run_pod(
            "p",
            "echo main >> /w/starts",
            container={"volumeMounts": [{"name": "w", "mountPath": "/w"}]},
            spec={
                "initContainers": [sidecar("one"), sidecar("two")],
                "volumes": [{"name": "w", "hostPath": {"path": shared}}],
            },
        )
        await embedded.pod("p", "Succeeded")
        assert (Path(shared) / "starts").read_text() == "one\ntwo\nmain\n"
        assert (Path(shared) / "ends").read_text() == "two\none\n"
    finally:
        shutil.rmtree(shared)

"""kubectl exec, cp, attach and the official client's streams, against real processes."""

import asyncio
import json
import os
import pty
import shutil
from pathlib import Path

import pytest
from kubernetes import client, config
from kubernetes.stream import stream

pytestmark = pytest.mark.integration

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
ECHO = "while read line; do echo got $line; done; echo end"


async def kubectl(embedded, *args, stdin=None, seconds=20):
    """Run kubectl on the cluster; returns code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *args,
        env={**os.environ, "KUBECONFIG": str(embedded.cluster.kubeconfig_path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), seconds)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode()


async def started(embedded, command="sleep 600", **container):
    mounts = {"volumeMounts": [{"name": "w", "mountPath": "/work"}]}
    env = [{"name": "A", "value": "1"}, {"name": "WHERE", "value": "/work"}]
    embedded.run_pod(
        "p",
        command,
        container={**mounts, "env": env, **container},
        spec={"volumes": [{"name": "w", "emptyDir": {}}], "terminationGracePeriodSeconds": 1},
    )
    await embedded.pod("p", "Running")


@needs_kubectl
async def test_exec_has_the_containers_surroundings_and_tells_the_exit_code(embedded):
    """Environment, mounts, both outputs apart, and the code of the command."""
    await started(embedded)
    code, out, err = await kubectl(
        embedded, "exec", "p", "--", "sh", "-c", "echo $A > /work/f; cat $WHERE/f; echo oh >&2; exit 3"
    )
    assert (code, out) == (3, "1\n")
    assert err == "oh\ncommand terminated with exit code 3\n"


@needs_kubectl
async def test_exec_carries_stdin_to_its_end(embedded):
    """Much more than fits into a pipe, both ways, and the end of it."""
    await started(embedded)
    data = "0123456789abcde\n" * 200_000
    code, out, _ = await kubectl(embedded, "exec", "-i", "p", "--", "cat", stdin=data.encode())
    assert code == 0
    assert out == data


@needs_kubectl
async def test_a_command_ends_with_its_client(embedded):
    """Nobody is left to see it: it is killed, and the container goes on."""
    await started(embedded)
    client_process = await asyncio.create_subprocess_exec(
        "kubectl",
        "exec",
        "p",
        "--",
        "sleep",
        "54321",
        env={**os.environ, "KUBECONFIG": str(embedded.cluster.kubeconfig_path)},
    )
    await embedded.until(lambda: running("sleep\x0054321"))
    client_process.kill()
    await client_process.wait()
    await embedded.until(lambda: not running("sleep\x0054321"))
    assert embedded.get("pods", "p")["status"]["phase"] == "Running"


@needs_kubectl
async def test_a_command_ends_with_its_pod(embedded):
    """A pod that goes takes along what clients run in it."""
    await started(embedded, "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    executing = asyncio.create_task(kubectl(embedded, "exec", "p", "--", "sleep", "54322"))
    await embedded.until(lambda: running("sleep\x0054322"))
    embedded.registry.delete("pods", "p", "default")
    code, _, err = await executing
    assert code == 137, err
    assert not running("sleep\x0054322")


@needs_kubectl
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["exec", "p", "--", "no-such-program"], 'exec: "no-such-program": executable file not found'),
        (["exec", "p", "-c", "other", "--", "ls"], "container other is not valid for pod p"),
        (["exec", "gone", "--", "ls"], 'pods "gone" not found'),
    ],
)
async def test_exec_that_cannot_be_had_says_why(embedded, args, words):
    """The reason reaches the terminal."""
    await started(embedded)
    code, _, err = await kubectl(embedded, *args)
    assert code == 1
    assert words in err


@needs_kubectl
async def test_exec_into_a_container_that_has_ended(embedded):
    """There is nothing to enter."""
    embedded.run_pod("p", "true")
    await embedded.pod("p", "Succeeded")
    code, _, err = await kubectl(embedded, "exec", "p", "--", "ls")
    assert code == 1
    assert "cannot exec into a container in a completed pod" in err  # kubectl looks before it asks


@needs_kubectl
async def test_copying_to_and_from_a_pod(embedded, tmp_path):
    """kubectl cp runs tar on both sides; names are those inside the pod."""
    await started(embedded)
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("hello")
    code, _, err = await kubectl(embedded, "cp", str(folder), "p:/work/")
    assert code == 0, err
    code, _, err = await kubectl(embedded, "cp", "p:/work/data", str(tmp_path / "back"))
    assert code == 0, err
    assert (tmp_path / "back" / "deep" / "file").read_text() == "hello"


@needs_kubectl
async def test_a_terminal(embedded):
    """`exec -it` gives the command a terminal of the client's size."""
    await started(embedded)
    mine, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        "exec",
        "-it",
        "p",
        "--",
        "sh",
        "-c",
        "test -t 0 && echo TERM=$TERM; read line; echo got $line",
        env={**os.environ, "KUBECONFIG": str(embedded.cluster.kubeconfig_path)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.set_blocking(mine, False)
    seen = b""

    async def until(words):
        nonlocal seen
        while words not in seen:
            try:
                seen += os.read(mine, 4096)
            except BlockingIOError:
                await asyncio.sleep(0.02)

    async with asyncio.timeout(15):
        await until(b"TERM=xterm\r\n")
        os.write(mine, b"this\n")
        await until(b"got this\r\n")
        assert await process.wait() == 0
    os.close(mine)


@needs_kubectl
async def test_attach_joins_the_container(embedded):
    """What is typed reaches the container, once; what it says reaches the client and the log."""
    await started(embedded, ECHO, stdin=True, stdinOnce=True)
    code, out, err = await kubectl(embedded, "attach", "-i", "p", stdin=b"one\ntwo\n")
    assert code == 0, err
    assert out == "got one\ngot two\nend\n"
    await embedded.pod("p", "Succeeded")
    assert await embedded.log("p") == "got one\ngot two\nend\n"


async def test_the_official_client_streams(embedded):
    """v4.channel.k8s.io: stdin, stdout, stderr and the outcome."""
    await started(embedded)

    def talk():
        raw = config.new_client_from_config(str(embedded.cluster.kubeconfig_path))
        api = client.CoreV1Api(raw)
        command = ["sh", "-c", "read x; echo out $x; echo err >&2; exit 5"]
        answer = stream(
            api.connect_get_namespaced_pod_exec,
            "p",
            "default",
            command=command,
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        answer.write_stdin("hello\n")
        answer.run_forever(timeout=10)
        seen = answer.read_stdout(), answer.read_stderr(), answer.returncode
        answer.close()
        raw.rest_client.pool_manager.clear()
        return seen

    assert await asyncio.to_thread(talk) == ("out hello\n", "err\n", 5)


async def test_a_request_that_wants_no_upgrade_is_refused(embedded):
    """The endpoint is no plain resource."""
    await started(embedded)

    def ask():
        api = config.new_client_from_config(str(embedded.cluster.kubeconfig_path))
        try:
            client.CoreV1Api(api).connect_get_namespaced_pod_exec("p", "default", command="ls", stdout=True)
        except client.ApiException as error:
            return error.status, json.loads(error.body)["message"]
        finally:
            api.rest_client.pool_manager.clear()

    assert await asyncio.to_thread(ask) == (400, "Upgrade request required")


def running(command_line):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                content = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if content.startswith(command_line.encode()):
                found.append(int(entry.name))
    return found

"""kubectl exec, cp, attach and the official client's streams, against real processes."""

import asyncio
import base64
import os
import pty
import ssl
from pathlib import Path

import aiohttp
import pytest
import yaml
from containers import kubectl, official, started

pytestmark = pytest.mark.integration


ECHO = "while read line; do echo got $line; done; echo end"


@pytest.mark.needs("kubectl")
async def test_exec_has_the_containers_surroundings_and_tells_the_exit_code(embedded):
    """Environment, mounts, both outputs apart, and the code of the command."""
    await started(embedded)
    code, out, err = await kubectl(
        embedded, "exec", "p", "--", "sh", "-c", "echo $A > /files/f; cat $WHERE/f; echo oh >&2; exit 3"
    )
    assert (code, out) == (3, "1\n")
    assert err == "oh\ncommand terminated with exit code 3\n"


@pytest.mark.needs("kubectl")
async def test_exec_carries_stdin_to_its_end(embedded):
    """Much more than fits into a pipe, both ways, and the end of it."""
    await started(embedded)
    data = "0123456789abcde\n" * 200_000
    code, out, _ = await kubectl(embedded, "exec", "-i", "p", "--", "cat", stdin=data.encode())
    assert code == 0
    assert out == data


@pytest.mark.needs("kubectl")
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


@pytest.mark.needs("kubectl")
async def test_a_command_ends_with_its_pod(embedded):
    """A pod that goes takes along what clients run in it."""
    await started(embedded, "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    executing = asyncio.create_task(kubectl(embedded, "exec", "p", "--", "sleep", "54322"))
    await embedded.until(lambda: running("sleep\x0054322"))
    embedded.registry.delete("pods", "p", "default")
    code, _, err = await executing
    assert code == 137, err
    assert not running("sleep\x0054322")


@pytest.mark.needs("kubectl")
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


@pytest.mark.needs("kubectl")
async def test_exec_into_a_container_that_has_ended(embedded):
    """There is nothing to enter."""
    embedded.run_pod("p", "true")
    await embedded.pod("p", "Succeeded")
    code, _, err = await kubectl(embedded, "exec", "p", "--", "ls")
    assert code == 1
    assert "cannot exec into a container in a completed pod" in err  # kubectl looks before it asks


@pytest.mark.needs("kubectl")
async def test_copying_to_and_from_a_pod(embedded, tmp_path):
    """kubectl cp runs tar on both sides; names are those inside the pod."""
    await started(embedded)
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("hello")
    code, _, err = await kubectl(embedded, "cp", str(folder), "p:/files/")
    assert code == 0, err
    code, _, err = await kubectl(embedded, "cp", "p:/files/data", str(tmp_path / "back"))
    assert code == 0, err
    assert (tmp_path / "back" / "deep" / "file").read_text() == "hello"


@pytest.mark.needs("kubectl")
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

    async with asyncio.timeout(60):
        await until(b"TERM=xterm\r\n")
        os.write(mine, b"this\n")
        await until(b"got this\r\n")
        assert await process.wait() == 0
    os.close(mine)


@pytest.mark.needs("kubectl")
async def test_attach_joins_the_container(embedded):
    """What is typed reaches the container, once; what it says reaches the client and the log."""
    await started(embedded, ECHO, stdin=True, stdinOnce=True)
    code, out, err = await kubectl(embedded, "attach", "-i", "p", stdin=b"one\ntwo\n")
    assert code == 0, err
    assert out == "got one\ngot two\nend\n"
    await embedded.pod("p", "Succeeded")
    assert await embedded.log("p") == "got one\ngot two\nend\n"


STREAMS = """
command = ["sh", "-c", "read x; echo out $x; echo err >&2; exit 5"]
answer = stream(api.connect_get_namespaced_pod_exec, "p", "default", command=command,
    stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False)
answer.write_stdin("hello\\n")
answer.run_forever(timeout=60)
print(json.dumps([answer.read_stdout(), answer.read_stderr(), answer.returncode]))
"""


NO_UPGRADE = """
try:
    api.connect_get_namespaced_pod_exec("p", "default", command=["ls"], stdout=True)
except client.ApiException as error:
    print(json.dumps([error.status, json.loads(error.body)["message"]]))
"""


async def test_the_official_client_streams(embedded):
    """stdin, stdout, stderr and the outcome, as the official client has them."""
    await started(embedded)
    assert await official(embedded, STREAMS) == ["out hello\n", "err\n", 5]


async def test_a_request_that_wants_no_upgrade_is_refused(embedded):
    """The endpoint is no plain resource."""
    await started(embedded)
    assert await official(embedded, NO_UPGRADE) == [400, "Upgrade request required"]


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


@pytest.mark.needs("kubectl")
async def test_exec_through_spdy(embedded):
    """Clients that know no WebSockets get the same."""
    await started(embedded)
    old = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}
    code, out, err = await kubectl(
        embedded, "exec", "-i", "p", "--", "sh", "-c", "cat; echo oh >&2; exit 3", stdin=b"x" * 300_000, more=old
    )
    assert (code, len(out)) == (3, 300_000)
    assert err == "oh\ncommand terminated with exit code 3\n"


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}


HANDSHAKE = {**UPGRADE, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}


@pytest.mark.parametrize(
    ("path", "headers", "status", "words"),
    [
        ("exec?command=ls&stdout=1", {}, 400, "Upgrade request required"),
        ("exec?command=ls&stdout=1", UPGRADE, 400, "client supports [], server accepts [v5.channel.k8s.io"),
        (
            "exec?command=ls&stdout=1",
            {**UPGRADE, "Sec-WebSocket-Protocol": "v5.channel.k8s.io"},
            400,
            "the WebSocket handshake is incomplete",
        ),
        (
            "exec?command=ls",
            {**HANDSHAKE, "Sec-WebSocket-Protocol": "v5.channel.k8s.io"},
            400,
            "you must specify at least 1 of stdin, stdout, stderr",
        ),
        ("exec?command=ls&stdout=1", SPDY, 403, "unable to negotiate protocol"),
        ("exec?command=ls&stdout=1", {"Connection": "Upgrade", "Upgrade": "h2c"}, 400, "unsupported protocol 'h2c'"),
        (
            "portforward?ports=x",
            {**HANDSHAKE, "Sec-WebSocket-Protocol": "v4.channel.k8s.io"},
            400,
            "unable to parse 'x' as a port",
        ),
        (
            "portforward",
            {**HANDSHAKE, "Sec-WebSocket-Protocol": "v4.channel.k8s.io"},
            400,
            "query parameter 'ports' is required",
        ),
        ("proxy/", UPGRADE, 400, "use kubectl port-forward"),
        ("log?sinceSeconds=999999999999999999", {}, 200, ""),
    ],
)
async def test_half_a_request_is_refused(embedded, path, headers, status, words):
    """Whatever arrives: a refusal with the reason, never a hang or an error of ours."""
    await started(embedded)

    known = yaml.safe_load(embedded.cluster.kubeconfig_path.read_text())
    cluster, user = known["clusters"][0]["cluster"], known["users"][0]["user"]
    authority = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    url = f"{cluster['server']}/api/v1/namespaces/default/pods/p/{path}"
    sent = {"Authorization": f"Bearer {user['token']}", **headers}
    async with aiohttp.ClientSession() as http, http.get(url, headers=sent, ssl=authority) as answer:
        text = await answer.text()
        assert (answer.status, words in text) == (status, True), text


@pytest.mark.parametrize(
    ("path", "protocol"),
    [("exec?command=sleep&command=54323&stdout=1", "v4.channel.k8s.io"), ("portforward", "portforward.k8s.io")],
)
async def test_a_client_that_speaks_no_spdy_is_let_go(embedded, path, protocol):
    """After the upgrade comes rubbish: the connection ends, and nothing was started."""
    await started(embedded)
    known = yaml.safe_load(embedded.cluster.kubeconfig_path.read_text())
    cluster, user = known["clusters"][0]["cluster"], known["users"][0]["user"]
    authority = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    lines = (
        f"POST /api/v1/namespaces/default/pods/p/{path} HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {user['token']}",
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
        f"X-Stream-Protocol-Version: {protocol}",
        "\r\n",
    )
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=authority)
        writer.write("\r\n".join(lines).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert f"X-Stream-Protocol-Version: {protocol}".encode() in answer
        writer.write(b"\x80\x02rubbish rubbish rubbish")
        await reader.read()
        writer.close()
    assert not running("sleep\x0054323")

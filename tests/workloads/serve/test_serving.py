"""The serving pod as a process, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import html
import http.client
import io
import json
import re
import signal

import numpy as np
import onnx
import orjson
import pytest

from trimtab.store import write_manifest
from trimtab.workloads.serve.mapped import align_weights

pytestmark = pytest.mark.integration

BODY = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]})
INFER = "/v2/models/linear/infer"
JSON = {"Content-Type": "application/json"}
CONFIG = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}


async def test_a_model_is_served(pod, client):
    """Metadata, readiness, an answer, and numbers for Prometheus."""
    async with client.get(f"{pod.url}/v2") as answer:
        assert (await answer.json())["extensions"] == ["binary_tensor_data", "model_repository", "parameters"]
    for path in ("/v2/models/linear", "/v2/models/linear/versions/linear-1"):
        async with client.get(pod.url + path) as answer:
            metadata = await answer.json()
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
        assert metadata["parameters"] == {"max_concurrency": 32, "revision": "linear-1"}
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/linear/ready"):
        async with client.get(pod.url + path) as answer:
            assert answer.status == 200
    async with client.post(pod.url + INFER, data=BODY, headers=JSON) as answer:
        assert (await answer.json())["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [4, 5]}]
    async with client.get(f"{pod.url}/metrics") as answer:
        text = await answer.text()
    assert 'trimtab_serve_requests_total{model="linear",revision="linear-1",code="200"} 1' in text
    assert 'trimtab_serve_max_concurrency_requests{model="linear",revision="linear-1"} 32' in text


MISTAKES = [
    ("GET", "/v2/models/other", {}, 404, "model 'other' is not served here; this pod serves 'linear'"),
    ("POST", "/v2/models/other/infer", JSON, 404, "model 'other' is not served here; this pod serves 'linear'"),
    ("GET", "/v2/models/linear/versions/2", {}, 404, "version '2' is not served here; this pod serves 'linear-1'"),
    ("GET", "/favicon.ico", {}, 404, "nothing at /favicon.ico; start at /v2"),
    ("GET", INFER, {}, 405, "GET is not allowed here; use POST"),
    ("POST", "/v2/health/live", JSON, 405, "POST is not allowed here; use GET, HEAD"),
    (
        "POST",
        INFER,
        {"Content-Type": "application/xml"},
        415,
        "Content-Type is 'application/xml'; expected application/json",
    ),
    ("POST", INFER, JSON, 400, "inputs must be an array with one object per input: x"),
]


async def test_mistakes_are_answered_with_their_remedy(pod, client):
    """Every error is the protocol's error object."""
    for method, path, headers, status, message in MISTAKES:
        body = b"{}" if method == "POST" else None
        async with client.request(method, pod.url + path, data=body, headers=headers) as answer:
            assert (answer.status, await answer.json()) == (status, {"error": message})


async def test_answers_of_a_batch_reach_their_own_clients(pod, client):
    """Hundred clients at once, each with its own question."""

    async def asked(number):
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [number, 0, 1]}]}
        async with client.post(pod.url + INFER, data=orjson.dumps(body), headers=JSON) as answer:
            return (await answer.json())["outputs"][0]["data"]

    answers = await asyncio.gather(*(asked(number) for number in range(100)))
    assert answers == [[number + 1, 1] for number in range(100)]


class Client:
    """Asks as fast as it is answered; moves on, as a gateway does, when told to close."""

    def __init__(self, port):
        self.port = port
        self.answered = 0
        self.warm = asyncio.Event()
        self.failures = []
        self.told_to_go = False

    async def run(self):
        while not self.told_to_go:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                return  # the listener is closed: nothing was lost
            try:
                await self._ask(reader, writer)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failures.append(repr(error))
                return
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _ask(self, reader, writer):
        request = b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (INFER.encode(), len(BODY), BODY)
        while True:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            fields = http.client.parse_headers(io.BytesIO(head.partition(b"\r\n")[2]))
            await reader.readexactly(int(fields["content-length"]))
            if b" 200 " not in head.partition(b"\r\n")[0]:
                self.failures.append(head)
                return
            self.answered += 1
            if self.answered == 20:
                self.warm.set()
            if fields["connection"] == "close":
                self.told_to_go = True
                return


async def test_nothing_is_lost_when_the_pod_is_told_to_go_under_load(pod, client):
    """Not ready at once, serving on for a while, then each client is sent away with its last answer."""
    clients = [Client(pod.port) for _ in range(24)]
    running = [asyncio.create_task(each.run()) for each in clients]
    await asyncio.wait_for(asyncio.gather(*(each.warm.wait() for each in clients)), 60)
    pod.process.send_signal(signal.SIGTERM)
    await pod.logged("drain.started")
    async with client.get(f"{pod.url}/v2/health/ready") as answer:
        assert answer.status == 503
    async with client.get(f"{pod.url}/v2/health/live") as answer:
        assert answer.status == 200
    before = sum(each.answered for each in clients)
    await asyncio.wait_for(asyncio.gather(*running), 60)
    assert await pod.ended() == 0
    assert [failure for each in clients for failure in each.failures] == []
    assert all(each.told_to_go for each in clients)
    assert sum(each.answered for each in clients) > before
    assert pod.lines[-1]["event"] == "drain.finished"
    assert pod.lines[-1]["cut_off"] == 0


async def test_a_second_signal_ends_the_pod_at_once(launch):
    """Who asks twice does not want to wait."""
    pod = await launch("--drain-delay", "60s")
    await pod.logged("server.ready")
    pod.process.send_signal(signal.SIGTERM)
    await pod.logged("drain.started")
    pod.process.send_signal(signal.SIGINT)
    assert await pod.ended() == 128 + signal.SIGINT


async def test_a_connection_that_never_finishes_cannot_hold_the_pod(launch):
    """The drain has an end, and says how many were cut off."""
    pod = await launch("--drain-timeout", "200ms")
    port = (await pod.logged("server.started"))["port"]
    await pod.logged("server.ready")
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v2")
    pod.process.send_signal(signal.SIGTERM)
    assert await pod.ended() == 0
    assert pod.lines[-1]["cut_off"] == 1
    writer.close()


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        pytest.param({"digest": "sha256:" + "0" * 64}, 65, "ArtifactCorrupt", id="other digest"),
        pytest.param({"uri": "ftp://x/y"}, 65, "NotSupported: ", id="unknown store"),
    ],
)
async def test_an_artifact_that_cannot_be_served_ends_the_pod_with_a_reason(launch, tmp_path, changes, code, message):
    """The operator reads the reason from the container's termination message."""
    pod = await launch(**changes)
    assert await pod.ended() == code
    assert message in (tmp_path / "end").read_text()
    assert pod.lines[-1]["event"] == "server.failed"


async def test_an_address_that_is_taken_is_named(launch, pod, tmp_path):
    """Two pods on one host network, say."""
    second = await launch("--port", str(pod.port))
    assert await second.ended() == 75
    assert f"cannot listen on 127.0.0.1:{pod.port}: " in (tmp_path / "end").read_text()


async def test_bodies_are_bounded(launch, client):
    """The limit is an option: memory belongs to whoever pays for it."""
    pod = await launch("--max-body-bytes", "10")
    pod.port = (await pod.logged("server.started"))["port"]
    await pod.logged("server.ready")
    async with client.post(pod.url + INFER, data=BODY, headers=JSON) as answer:
        assert answer.status == 413
        assert await answer.json() == {"error": "the body is larger than 10 bytes; send fewer rows per request"}


async def test_a_folder_whose_parts_do_not_fit_is_refused(launch, artifact, tmp_path):
    """The names in config.json must be the model's."""
    folder, _ = artifact
    config = {**CONFIG, "inputs": [{**CONFIG["inputs"][0], "name": "pixels"}]}
    (folder / "config.json").write_text(json.dumps(config))
    pod = await launch(digest=write_manifest(folder).digest)
    assert await pod.ended() == 65
    assert "inputs name 'pixels', but model.onnx has x" in (tmp_path / "end").read_text()


async def test_a_model_that_cannot_run_is_refused_before_it_is_ready(launch, artifact, tmp_path):
    """Shapes that the graph does not take show in the warm-up, not at the first client."""
    folder, _ = artifact
    config = {**CONFIG, "inputs": [{**CONFIG["inputs"][0], "shape": [-1, 4]}]}
    (folder / "config.json").write_text(json.dumps(config))
    pod = await launch(digest=write_manifest(folder).digest)
    assert await pod.ended() == 65
    assert "model.onnx fails on 1 row of zeros" in (tmp_path / "end").read_text()


async def test_options_come_from_the_environment_too(launch):
    """A manifest may set either."""
    pod = await launch(TRIMTAB_SERVE_MAX_BATCH="0")
    _, said = await asyncio.wait_for(pod.process.communicate(), 60)
    assert pod.process.returncode == 2
    assert b"'--max-batch'" in said
    assert b"0 is not in the range" in said


async def test_a_duration_without_a_unit_is_refused(launch):
    """Nobody should have to guess whether 5 is seconds."""
    pod = await launch("--max-wait", "5")
    _, said = await asyncio.wait_for(pod.process.communicate(), 60)
    assert pod.process.returncode == 2
    assert b"'5' is not a duration; write it like 90s, 2m or 250ms" in said


@pytest.fixture
async def silent_store():
    """Return the environment of an object store that takes connections and never answers."""
    writers = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    server.close()
    for writer in writers:
        writer.close()


async def test_a_pod_without_its_model_lives_but_is_not_ready(launch, client, silent_store):
    """Probes hear the truth while the artifact is fetched, and the pod can still be told to go."""
    pod = await launch(uri="s3://models/linear", **silent_store)
    pod.port = (await pod.logged("server.started"))["port"]
    for method, path, status in (
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/health/ready", 503),
        ("GET", "/v2/models/linear", 503),
        ("POST", INFER, 503),
    ):
        async with client.request(method, pod.url + path, data=BODY, headers=JSON) as answer:
            assert answer.status == status
            assert status == 200 or await answer.json() == {"error": "the model is still loading"}
    pod.process.send_signal(signal.SIGTERM)
    assert await pod.ended() == 0
    assert pod.lines[-1]["reason"] == "signalled while loading"


async def test_a_store_that_is_away_ends_the_pod_with_a_code_that_says_try_again(launch, tmp_path, unused_tcp_port):
    """A restart may find it."""
    pod = await launch(
        uri="s3://models/linear",
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{unused_tcp_port}",
        AWS_ACCESS_KEY_ID="k",
        AWS_SECRET_ACCESS_KEY="s",
        AWS_DEFAULT_REGION="eu-west-1",
    )
    assert await pod.ended() == 75
    assert (tmp_path / "end").read_text().startswith("StoreUnreachable: ")


async def test_large_requests_are_answered_beside_the_loop(launch, client):
    """Read and written in a thread, and right all the same; more JSON than may be is refused with the remedy."""
    pod = await (await launch("--max-json-bytes", "2000000")).ready()
    rows = np.arange(90_000, dtype=np.float32).reshape(-1, 3) % 1000
    tensor = {"name": "x", "datatype": "FP32", "shape": [30_000, 3], "data": rows.tolist()}
    async with client.post(
        pod.url + INFER, data=io.BytesIO(orjson.dumps({"inputs": [tensor]})), headers=JSON
    ) as answer:
        (output,) = (await answer.json())["outputs"]
    assert output["shape"] == [30_000, 2]
    np.testing.assert_array_equal(np.reshape(output["data"], (-1, 2)), rows[:, :2] + rows[:, 2:])
    tensor["data"][-1] = [1, 2]
    async with client.post(
        pod.url + INFER, data=io.BytesIO(orjson.dumps({"inputs": [tensor]})), headers=JSON
    ) as answer:
        assert answer.status == 400
        assert await answer.json() == {"error": "input 'x': data is ragged; every row must have the same length"}
    async with client.post(pod.url + INFER, data=io.BytesIO(b" " * 3_000_000), headers=JSON) as answer:
        assert answer.status == 413
        assert "send tensors in the binary form" in (await answer.json())["error"]


async def test_a_large_model_answers_before_it_is_loaded_for_speed(launch, client, tmp_path):
    """Ready as soon as it answers from mapped weights; the answers are the same afterwards."""
    folder = tmp_path / "large"
    folder.mkdir()
    weights = np.random.default_rng(0).normal(0, 0.02, (3, 1_000_000)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("MatMul", ["x", "w"], ["h"]),
            onnx.helper.make_node("ReduceMean", ["h"], ["y"], axes=[1], keepdims=1),
        ],
        "large",
        [onnx.helper.make_tensor_value_info("x", 1, ["n", 3])],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", 1])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    align_weights(folder / "model.onnx")
    config = {**CONFIG, "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}]}
    (folder / "config.json").write_text(json.dumps(config))
    pod = await (
        await launch(
            "--artifact-cache", str(tmp_path / "node"), uri=f"file://{folder}", digest=write_manifest(folder).digest
        )
    ).ready()
    assert [line.get("stage") for line in pod.lines] == [None, "mapped", None]
    answers = []
    for stage in ("mapped", "full"):
        async with client.post(pod.url + INFER, data=BODY, headers=JSON) as answer:
            answers.append((await answer.json())["outputs"][0]["data"][0])
        if stage == "mapped":
            assert (await pod.logged("model.loaded"))["stage"] == "full"
    expected = float((np.array([1, 2, 3], np.float64) @ weights).mean())
    assert answers == pytest.approx([expected, expected], abs=1e-5)


async def test_several_models_share_a_pod(launch, client, artifact, tmp_path):
    """Listed in a file; each has its own name in paths, index, page and numbers."""
    folder, digest = artifact
    one = {"name": "a", "revision": "1", "artifact": {"uri": f"file://{folder}", "digest": digest}}
    models = tmp_path / "models.json"
    models.write_text(json.dumps([one, {**one, "revision": "2", "loading": "Lazy"}, {**one, "name": "b"}]))
    pod = await (await launch(models=models)).ready()
    for path in ("a", "a/versions/1", "a/versions/2", "b"):
        async with client.post(f"{pod.url}/v2/models/{path}/infer", data=BODY, headers=JSON) as answer:
            assert (await answer.json())["outputs"][0]["data"] == [4, 5]
    async with client.post(f"{pod.url}/v2/repository/index", data=b"{}") as answer:
        found = await answer.json()
    assert [(entry["name"], entry["version"], entry["state"]) for entry in found] == [
        *(("a", "1", "READY"), ("a", "2", "READY"), ("b", "1", "READY"))
    ]
    async with client.post(f"{pod.url}/v2/repository/models/a/unload") as answer:
        assert answer.status == 403
    async with client.get(f"{pod.url}/") as answer:
        assert answer.content_type == "text/html"
        page = html.unescape(await answer.text())
    example, path = re.findall(r"-d '(.*)' \\\n +http://HOST(/\S+)</pre>", page)[-1]
    for headers in (JSON, {"Content-Type": "application/x-www-form-urlencoded"}):  # the second is curl's, unasked
        async with client.post(pod.url + path, data=example.encode(), headers=headers) as answer:
            assert (path, (await answer.json())["outputs"][0]["data"]) == ("/v2/models/b/infer", [0, 0])
    async with client.get(f"{pod.url}/openapi.json") as answer:
        document = await answer.json()
    assert document["paths"]["/v2/models/a/infer"]["post"]["requestBody"]["content"]["application/json"]["example"]
    async with client.get(f"{pod.url}/metrics") as answer:
        text = await answer.text()
    assert 'trimtab_serve_requests_total{model="a",revision="2",code="200"} 2' in text
    assert 'trimtab_serve_loads_total{model="b",revision="1"} 1' in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--models", "models.json"), b"give either --models or --model-name"),
        (("--cache-ttl", "5s"), b"--cache-ttl needs --cache-entries"),
    ],
)
async def test_options_that_do_not_go_together_are_refused(launch, tmp_path, options, message):
    """Nothing is silently left out."""
    (tmp_path / "models.json").write_text("[]")
    pod = await launch(*(str(tmp_path / option) if option.endswith(".json") else option for option in options))
    _, said = await asyncio.wait_for(pod.process.communicate(), 60)
    assert pod.process.returncode == 2
    assert message in said

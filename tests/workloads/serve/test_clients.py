"""The protocol as clients speak it that nobody here wrote, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.utils import InferenceServerException

from trimtab.workloads.serve import grpc_messages

PROTO = Path(grpc_messages.__file__).with_name("inference.proto")


def asked(library, client, binary=None, rows=((1, 2, 3), (4, 5, 6)), **settings):
    tensor = library.InferInput("x", [len(rows), 3], "FP32")
    data = np.array(rows, np.float32)
    if binary is None:
        tensor.set_data_from_numpy(data)
        wanted = library.InferRequestedOutput("y")
    else:
        tensor.set_data_from_numpy(data, binary_data=binary)
        wanted = library.InferRequestedOutput("y", binary_data=binary)
    return client.infer("linear", [tensor], outputs=[wanted], **settings).as_numpy("y").tolist()


@pytest.mark.integration
async def test_a_public_client_can_do_everything(launch):
    """Health, metadata, index, inference in every form, errors, unloading and loading."""
    pod = await (await launch("--grpc-port", "0", "--repository-control", "--cache-entries", "9")).ready()
    clients = (
        (tritonclient.http, tritonclient.http.InferenceServerClient(f"127.0.0.1:{pod.port}"), (True, False)),
        (tritonclient.grpc, tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{pod.grpc_port}"), (None,)),
    )
    for library, client, forms in clients:
        as_json = {} if library is tritonclient.http else {"as_json": True}
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("linear", "linear-1")
        assert client.get_server_metadata(**as_json)["name"] == "trimtab"
        metadata = client.get_model_metadata("linear", **as_json)
        assert [tensor["name"] for tensor in metadata["inputs"] + metadata["outputs"]] == ["x", "y"]
        index = client.get_model_repository_index(**as_json)
        (entry,) = index if isinstance(index, list) else index["models"]
        assert (entry["name"], entry["version"], entry["state"]) == ("linear", "linear-1", "READY")
        for _ in range(2):  # the second time from the cache
            for binary in forms:
                assert asked(library, client, binary, request_id="7") == [[4, 5], [10, 11]]
        with pytest.raises(InferenceServerException, match="expected shape \\[-1, 3\\], got \\[1, 4\\]"):
            client.infer("linear", [library.InferInput("x", [1, 4], "FP32").set_data_from_numpy(np.ones((1, 4), "f"))])
        with pytest.raises(InferenceServerException, match="the request's time was over before it ran"):
            asked(library, client, forms[0], rows=((9, 9, 9),), timeout=1)
        with pytest.raises(InferenceServerException, match="version '2' is not served here"):
            client.get_model_metadata("linear", "2")
        client.unload_model("linear")
        assert not client.is_model_ready("linear")
        with pytest.raises(InferenceServerException, match="model 'linear' is not loaded: unloaded on request"):
            asked(library, client, forms[0])
        with pytest.raises(InferenceServerException, match="parameters cannot say what to load"):
            client.load_model("linear", config="{}")
        client.load_model("linear")
        assert asked(library, client, forms[0]) == [[4, 5], [10, 11]]
        client.close()


@pytest.mark.integration
async def test_grpc_says_what_it_is_asked(launch):
    """Typed contents are answered as such, deadlines count, and the health service follows the pod's life."""
    pod = await (await launch("--grpc-port", "0", "--drain-delay", "5s")).ready()
    messages = grpc_messages.message_classes()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{pod.grpc_port}") as channel:
        infer = channel.unary_unary(
            f"/{grpc_messages.SERVICE}/ModelInfer",
            request_serializer=messages["ModelInferRequest"].SerializeToString,
            response_deserializer=messages["ModelInferResponse"].FromString,
        )
        request = messages["ModelInferRequest"](model_name="linear", id="7")
        tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
        tensor.contents.fp32_contents.extend([1, 2, 3])
        answer = await infer(request)
        assert (answer.id, list(answer.outputs[0].contents.fp32_contents)) == ("7", [4, 5])
        tensor.shape[0] = -1
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await infer(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details() == "input 'x': shape must be an array of positive integers, got [-1, 3]"
        health = health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest(service=grpc_messages.SERVICE)
        assert (await health.Check(check)).status == health_pb2.HealthCheckResponse.SERVING
        pod.process.terminate()
        await pod.logged("drain.started")
        assert (await health.Check(check)).status == health_pb2.HealthCheckResponse.NOT_SERVING


KSERVE = """
import asyncio, sys
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

async def main(port, grpc_port):
    url = f"http://127.0.0.1:{port}"
    rest, rpc = InferenceRESTClient(RESTConfig(protocol="v2")), InferenceGRPCClient(f"127.0.0.1:{grpc_port}")
    assert await rest.is_server_ready(url) and await rest.is_model_ready(url, "linear")
    assert await rpc.is_server_ready() and await rpc.is_model_ready("linear")
    for binary in (True, False):
        tensor = InferInput("x", [1, 3], "FP32")
        tensor.set_data_from_numpy(np.array([[1, 2, 3]], np.float32), binary_data=binary)
        request = InferRequest(model_name="linear", infer_inputs=[tensor])
        for answer in (await rest.infer(url, request, model_name="linear"), await rpc.infer(request)):
            assert answer.outputs[0].as_numpy().tolist() == [[4, 5]]

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.integration
@pytest.mark.skipif("KSERVE_PYTHON" not in os.environ, reason="KSERVE_PYTHON names no Python that has kserve")
async def test_the_kserve_client_is_understood(launch):
    """It does not install beside what we need: KSERVE_PYTHON names the Python of an environment of its own."""
    pod = await (await launch("--grpc-port", "0")).ready()
    command = [os.environ["KSERVE_PYTHON"], "-c", KSERVE, str(pod.port), str(pod.grpc_port)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_descriptors_are_those_of_the_text(tmp_path):
    """Whoever changes the protocol's text writes them anew."""
    target = tmp_path / "made"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={target}", PROTO]
    subprocess.run(command, check=True)
    assert target.read_bytes() == PROTO.with_suffix(".binpb").read_bytes()


def test_fields_have_the_public_names_and_numbers():
    """Every message is the one that the public client knows, as far as it goes."""
    public = {**vars(tritonclient.grpc.service_pb2), **vars(tritonclient.grpc.model_config_pb2)}
    for name, message in grpc_messages.message_classes().items():
        if "." in name:
            continue  # reached through the message around it
        theirs, ours = public[name].DESCRIPTOR.fields_by_name, message.DESCRIPTOR.fields_by_name
        for field in ours:
            same = [(one[field].number, one[field].type, one[field].is_repeated) for one in (ours, theirs)]
            assert same[0] == same[1], f"{name}.{field}"

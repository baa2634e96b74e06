"""What the engine's own errors become."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper

from trimtab.workloads.serve.api import InferenceApi, Status
from trimtab.workloads.serve.exchange import Head
from trimtab.workloads.serve.inference import HttpInference
from trimtab.workloads.serve.model import ModelSettings
from trimtab.workloads.serve.repository import Repository


class FakeExchange:
    """A request for inference whose answer can be awaited."""

    arrived = 0.0
    client = "c"

    def __init__(self, index, target=b"/v2/models/words/infer"):
        tensor = {"name": "i", "datatype": "INT64", "shape": [1], "data": [index]}
        self.body = json.dumps({"inputs": [tensor]}).encode()
        self.head = Head(b"POST", target)
        self.connection = SimpleNamespace(lost=False)
        self.answered = asyncio.get_running_loop().create_future()

    def answer(self, status, body, headers=b""):
        self.answered.set_result((status, json.loads(body)))


def numbers(api):
    return api._repository.find("words").metrics


@pytest.fixture
async def api(tmp_path):
    """Serve a table of three rows: an index beyond it fails inside the engine."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "i"], ["y"])],
        "words",
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("table", TensorProto.FLOAT, [3, 2], [0, 1, 2, 3, 4, 5])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    config = {
        "inputs": [{"name": "i", "datatype": "INT64", "shape": [-1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = ModelSettings("words", "r", "file:///", "", max_batch=8)
    repository = Repository([settings], lambda _: tmp_path, 1, lambda: 0.0)
    await repository.open()
    inference = HttpInference(lambda: 0.0, None, 1024)
    served = InferenceApi(repository, inference, Status())
    yield served
    served.close()
    inference.close()
    repository.close()


async def test_data_that_the_engine_refuses_is_the_clients_mistake_alone(api):
    """Its neighbours in the same batch are answered; it hears 400."""
    exchanges = [FakeExchange(index) for index in (0, 99, 2)]
    for exchange in exchanges:
        api.handle(exchange)
    first, second, third = await asyncio.gather(*(exchange.answered for exchange in exchanges))
    assert first[0] == third[0] == 200
    assert first[1]["outputs"][0]["data"] == [0, 1]
    assert third[1]["outputs"][0]["data"] == [4, 5]
    assert second[0] == 400
    assert "the model failed: " in second[1]["error"]
    assert numbers(api).requests == {200: 2, 400: 1}
    assert numbers(api).in_flight == 0


async def test_more_than_may_wait_are_sent_away_for_now(api):
    """503 lets a gateway try another pod."""
    exchanges = [FakeExchange(0) for _ in range(65)]
    for exchange in exchanges:
        api.handle(exchange)
    answers = await asyncio.gather(*(exchange.answered for exchange in exchanges))
    assert [status for status, _ in answers] == [200] * 64 + [503]
    assert answers[-1][1] == {"error": "too many requests wait here; try again"}


async def test_a_request_whose_client_left_is_forgotten(api):
    """It is neither run nor counted as in flight."""
    gone, here = FakeExchange(0), FakeExchange(1)
    gone.connection.lost = True
    api.handle(gone)
    api.handle(here)
    await here.answered
    assert not gone.answered.done()
    assert numbers(api).in_flight == 0


async def test_names_may_be_percent_encoded(api):
    """Some clients encode more than they need."""
    exchange = FakeExchange(1, target=b"/v2/models/%77ords/infer?x=1")
    api.handle(exchange)
    assert (await exchange.answered)[0] == 200

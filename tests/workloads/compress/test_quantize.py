"""Every scheme on real models: what it stores, what it says, what it leaves alone."""

import importlib.util
import json

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file
from stops import StopAt
from torch import nn

from trimtab.api.compression import CompileEngine, Quantize
from trimtab.api.guardrail import Guardrail
from trimtab.errors import Stalled
from trimtab.workloads.compress.checkpoints import Checkpoints
from trimtab.workloads.compress.data import RunData
from trimtab.workloads.compress.datasets import DataFile, Samples
from trimtab.workloads.compress.network import export_network
from trimtab.workloads.compress.stopping import Interrupted, Stop
from trimtab.workloads.compress.techniques import Context, Model
from trimtab.workloads.compress.techniques.quantize import quantize
from trimtab.workloads.compress.techniques.quantize.calibrating import error, said
from trimtab.workloads.compress.techniques.quantize.hybrid import fewest
from trimtab.workloads.compress.techniques.quantize.rounding import Span, round_layers, unrounded
from trimtab.workloads.compress.techniques.quantize.weights import rows_as_int8

FIELD = "spec.compression.steps[0].quantize"


class Reader(nn.Module):
    """A small reader of words: a table, two layers with a GELU between, one huge channel, as transformers have."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(500, 32)
        self.wide, self.narrow = nn.Linear(32, 128), nn.Linear(128, 32)
        self.head = nn.Linear(32, 8)
        with torch.no_grad():
            self.narrow.weight[0] *= 0.01
            self.wide.weight[0] *= 300

    def forward(self, words):
        x = self.words(words)
        x = x + self.narrow(nn.functional.gelu(self.wide(x)))
        return self.head(nn.functional.layer_norm(x, [32])).mean(1)


@pytest.fixture
def a_context(tmp_path):
    """Build the context of a quantize step over some samples, which also calibrate, train and judge."""

    def build(samples, calibration=None, guardrail=None, **changes):
        folder = tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        promise = Guardrail.model_validate({"dataset": {"uri": "file:///unused"}} | (guardrail or {}))
        data = RunData(samples, {FIELD: samples}, {FIELD: calibration or samples.first(32)}, (), promise)
        stop = changes.pop("stop", Stop())
        wanted = {
            "folder": folder,
            "data": data,
            "outputs": 10,
            "free": {},
            "teacher": None,
            "student": None,
            "reduce_range": False,
            "engine": CompileEngine.ONNX_RUNTIME,
            "field": FIELD,
            "seed": 0,
            "tick": lambda _done, _detail: None,
            "stop": stop,
            "training": Checkpoints((tmp_path / "kept").as_uri(), FIELD, folder, lambda: 0.0),
            "index": 0,
        }
        return Context(**(wanted | changes))

    return build


@pytest.fixture(scope="module")
def digits(customer, tmp_path_factory):
    """The customer's network, its export, and (train, test) samples."""
    spec = importlib.util.spec_from_file_location("digits_of_customer", customer[0] / "digits_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.build()
    network.load_state_dict(load_file(customer[0] / "model.safetensors"))
    file = DataFile(customer[1], "test", "file")
    train, test = file.required("train"), file.required("test")
    path = tmp_path_factory.mktemp("digits") / "model.onnx"
    export_network(network.eval(), test, path)
    return network, path, train, test


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """The reader's export and samples of it."""
    words = np.random.default_rng(0).integers(0, 500, (96, 12))
    path = tmp_path_factory.mktemp("reader") / "model.onnx"
    export_network(Reader().eval(), Samples({"words": words}), path)
    return path, Samples({"words": words})


def accuracy(path, samples, context):
    return float((said(path, samples, context).argmax(1) == samples.y).mean())


@pytest.mark.parametrize(
    ("scheme", "name", "share", "worst"),
    [
        ("INT8", "Int8", 0.27, 0.05),
        ("INT8WeightOnly", "Int8", 0.27, 0.02),
        ("INT4WeightOnly", "Int8", 0.27, 0.05),
        ("FP16", "Fp16", 0.51, 0.001),
        ("Hybrid", "Int8", 0.27, 0.05),
    ],
)
def test_schemes_on_a_network_of_convolutions(digits, a_context, scheme, name, share, worst):
    """The file shrinks as the scheme promises, all of it is covered, and what it says hardly changes."""
    _, path, train, test = digits
    context = a_context(test, train.first(64))
    made, facts = quantize(Quantize(scheme=scheme), Model(graph=path), context)
    assert made.graph.stat().st_size / path.stat().st_size < share
    assert (facts[f"weights{name}Percent"], facts[f"macs{name}Percent"]) == (100.0, 100.0)
    assert 0 < error(said(path, test, context), said(made.graph, test, context)) < worst
    assert accuracy(made.graph, test, context) >= accuracy(path, test, context) - 0.01
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize(
    ("scheme", "share", "worst"),
    [
        ("INT8", 0.5, 0.6),
        ("INT8Dynamic", 0.5, 0.6),
        ("INT8WeightOnly", 0.5, 0.05),
        ("INT4WeightOnly", 0.5, 0.3),
        ("FP16", 0.62, 0.005),
    ],
)
def test_schemes_on_a_reader_of_words(reader, a_context, scheme, share, worst):
    """Products and the table of words get fewer bits; equal inputs give equal bytes."""
    path, samples = reader
    context = a_context(samples)
    first, _ = quantize(Quantize(scheme=scheme), Model(graph=path), context)
    content = first.graph.read_bytes()
    again, _ = quantize(Quantize(scheme=scheme), Model(graph=path), a_context(samples))
    assert again.graph.read_bytes() == content
    assert len(content) / path.stat().st_size < share
    assert 0 < error(said(path, samples, context), said(first.graph, samples, context)) < worst


def test_only_layers_with_weights_are_int8(reader, a_context):
    """Normalisation, GELU and sums stay FP32: int8 there costs accuracy and saves nothing."""
    path, samples = reader
    made, _ = quantize(Quantize(scheme="INT8"), Model(graph=path), a_context(samples))
    nodes = onnx.load(made.graph).graph.node
    through = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    readers = {node.op_type for node in nodes if through & set(node.input)}
    assert "MatMul" in readers
    assert not readers & {"LayerNormalization", "Gelu", "ReduceMean", "Softmax"}


@pytest.mark.parametrize("scheme", ["INT8", "INT8Dynamic", "INT8WeightOnly", "INT4WeightOnly", "FP16", "Hybrid"])
def test_keep_leaves_layers_alone(reader, a_context, scheme):
    """What a pattern names has its FP32 weights afterwards, in every scheme."""
    path, samples = reader
    made, facts = quantize(Quantize(scheme=scheme, keep=["head/*"]), Model(graph=path), a_context(samples))
    assert any(name.startswith("head/") for name in facts["kept"])
    floats = [numpy_helper.to_array(t).shape for t in onnx.load(made.graph).graph.initializer if t.data_type == 1]
    assert (32, 8) in floats or (8, 32) in floats


def test_the_ranking_finds_the_bad_layer_and_keeps_it(reader, a_context):
    """The layer behind the huge channel is the most sensitive; it stays FP32 until the limit holds."""
    path, samples = reader
    tight = {"metric": "CosineSimilarity", "maxDrop": "0.2pp"}
    context = a_context(samples, guardrail=tight)
    hybrid, facts = quantize(Quantize(scheme="Hybrid"), Model(graph=path), context)
    plain, _ = quantize(Quantize(scheme="INT8"), Model(graph=path), a_context(samples, guardrail=tight))
    values = [value for _, value in facts["sensitivity"]]
    assert values == sorted(values, reverse=True)
    assert facts["sensitivity"][0][0].startswith(("narrow/", "wide/"))
    assert facts["sensitivity"][0][0] in facts["kept"]
    assert facts["limitHeldInCalibration"]
    wanted = said(path, samples, context)
    assert error(wanted, said(hybrid.graph, samples, context)) < error(wanted, said(plain.graph, samples, context)) / 2


@pytest.mark.parametrize("most", [0, 1, 2, 5, 12])
def test_the_fewest_that_hold(most):
    """Doubling and halving find the very count from which on it holds, or give up at all of them."""
    for first in range(most + 2):
        assert fewest(most, lambda count, first=first: count >= first) == min(first, most)


def test_training_with_rounding_is_no_worse_than_rounding_afterwards(digits, a_context):
    """With 7 bits and four calibration samples, the trained network loses no more than the calibrated one."""
    network, path, train, test = digits
    context = a_context(test, train.first(4), reduce_range=True)
    context.data.training[FIELD] = train
    aware, facts = quantize(
        Quantize(scheme="INT8", method="QuantizationAware"), Model(network=network, graph=path), context
    )
    after, _ = quantize(Quantize(scheme="INT8"), Model(graph=path), a_context(test, train.first(4), reduce_range=True))
    assert facts["weightsInt8Percent"] == 100.0
    assert accuracy(aware.graph, test, context) >= accuracy(after.graph, test, context)


def test_training_with_rounding_goes_on_where_it_was_stopped(digits, a_context):
    """Stopped in the middle of an epoch, another pod makes the very same file."""
    network, _, train, _ = digits
    step, few = Quantize(scheme="INT8", method="QuantizationAware"), train.first(256)
    model = Model(network=network)
    whole, _ = quantize(step, model, a_context(few))

    with pytest.raises(Interrupted):
        quantize(step, model, a_context(few, stop=StopAt(8)))
    resumed = []
    again, _ = quantize(step, model, a_context(few, resumed=resumed.append))
    assert resumed, "it began where the checkpoint was"
    assert again.graph.read_bytes() == whole.graph.read_bytes()


def test_what_is_exported_is_what_was_trained(digits):
    """Normalisation is folded without a change, and rounding is a few levels away from the original."""
    network, _, train, _ = digits
    x = torch.from_numpy(next(iter(train.first(64).inputs.values())))
    names = {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    rounding = round_layers(network, names, {"x": x}, reduce_range=False)
    with torch.inference_mode():
        wanted, rounded, plain = network(x), rounding.eval()(x), unrounded(rounding)(x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in rounding.modules())
    torch.testing.assert_close(plain, wanted, rtol=1e-3, atol=1e-3)
    assert 0 < error(wanted.numpy(), rounded.numpy()) < 0.05


def test_a_range_is_learned():
    """Values beyond the range pull it wider; inside, the gradient passes as if nothing were rounded."""
    span = Span(-1.0, 1.0)
    x = torch.tensor([-0.5, 0.25, 3.0], requires_grad=True)
    span(x).sum().backward()
    assert x.grad.tolist() == pytest.approx([1.0, 1.0, 0.0])
    assert float(span.high.grad) > 0.9
    assert float(span(torch.zeros(1)).detach()) == 0.0


def test_rows_as_int8():
    """Each row is within half a step of itself, and a row of zeros stays zero."""
    weight = np.array([[1.0, -2.0], [0.0, 0.0], [100.0, 3.0]], np.float32)
    numbers, scales = rows_as_int8(weight, 0)
    assert (np.abs(numbers * scales[:, None] - weight).max(1) <= scales / 2 + 1e-6).all()
    assert numbers[1].tolist() == [0, 0]


def a_table_reader(path, spread):
    """Write three layers behind columns whose spreads differ, which the first layer's weights make up for."""
    draw = np.random.default_rng(0)
    first = (draw.normal(size=(8, 96)) / spread[:, None]).astype(np.float32)
    others = [draw.normal(size=size).astype(np.float32) / 10 for size in ((96, 96), (96, 4))]
    names = [("x", "first", "a"), ("b", "second", "c"), ("d", "third", "scores")]
    nodes = [helper.make_node("MatMul", [x, weight], [y], name=weight) for x, weight, y in names]
    nodes = [
        nodes[0],
        helper.make_node("Relu", ["a"], ["b"]),
        nodes[1],
        helper.make_node("Relu", ["c"], ["d"]),
        nodes[2],
    ]
    form = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("x", form, ["batch", 8])],
        [helper.make_tensor_value_info("scores", form, ["batch", 4])],
        [numpy_helper.from_array(array, name) for (_, name, _), array in zip(names, (first, *others), strict=True)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return Samples({"x": (draw.normal(size=(64, 8)) * spread).astype(np.float32)})


@pytest.mark.parametrize(("spread", "kept"), [(np.geomspace(0.01, 100, 8), ["first"]), (np.ones(8), [])])
def test_what_reads_columns_of_unlike_spread_stays_fp32(a_context, tmp_path, spread, kept):
    """One scale for all columns would round the small ones away; columns alike lose nothing that matters."""
    samples = a_table_reader(tmp_path / "model.onnx", spread)
    context = a_context(samples, calibration=samples)
    result, facts = quantize(Quantize(scheme="INT8"), Model(graph=tmp_path / "model.onnx"), context)
    assert facts["kept"] == kept
    assert facts["weightsInt8Percent"] >= 90
    wanted, found = (said(path, samples, context) for path in (tmp_path / "model.onnx", result.graph))
    assert error(wanted, found) < 0.05


def test_a_graph_without_weights_has_nothing_to_quantize(a_context, tmp_path):
    """A model of additions alone is refused instead of published unchanged."""
    path = tmp_path / "add.onnx"
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    samples = Samples({"x": np.zeros((8, 4), np.float32)})
    with pytest.raises(Stalled, match="no convolution, product or table has constant FP32 weights; remove the step"):
        quantize(Quantize(scheme="INT8"), Model(graph=path), a_context(samples))


@pytest.mark.parametrize("scheme", ["INT8", "INT8Dynamic", "INT8WeightOnly", "INT4WeightOnly", "Hybrid"])
def test_keeping_everything_is_no_quantization(reader, a_context, scheme):
    """In every scheme, a step that leaves all layers alone says so."""
    path, samples = reader
    with pytest.raises(Stalled, match=r"quantize: 0\.0% of the weights became int8; shorten keep, or remove the step"):
        quantize(Quantize(scheme=scheme, keep=["*"]), Model(graph=path), a_context(samples))

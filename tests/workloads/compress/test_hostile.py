"""Files and numbers that do harm: each ends at once, with the field, what is wrong, and what to do."""

import io
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trimtab.api.compression import Quantize
from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.errors import Stalled
from trimtab.workloads.compress.techniques import registry

INT8 = [{"quantize": {"scheme": "INT8"}}]


@pytest.fixture
def asked(request_for, a_graph, a_dataset, tmp_path):
    """Build a request for a linear model; `change` is done to its graph, `arrays` replace those of its data set."""

    def build(change=None, arrays=None, steps=None, batch="batch", **guardrail):
        path = tmp_path / "source" / "model.onnx"
        weight = a_graph(path, batch=batch)
        if change is not None:
            model = onnx.load(path)
            change(model)
            path.write_bytes(model.SerializeToString())
        data = a_dataset(tmp_path / "data.npz", weight)
        if arrays is not None:
            with np.load(data) as good:
                np.savez(data, **{**good, **arrays(good["x_test"])})
        return request_for(
            source={"uri": path.parent.as_uri()},
            compression={"steps": steps} if steps else {"preset": "None"},
            guardrail={"dataset": {"uri": data.as_uri()}, "maxDrop": "5pp", **guardrail},
        )

    return build


def refused(execute, spec):
    with pytest.raises(Stalled) as caught:
        execute(spec)
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        pytest.param(
            lambda x: {"x_test": x[:0], "y_test": np.zeros(0, int)},
            "x_test has shape [0, 16]; it must be [samples, …] with at least one sample",
            id="empty",
        ),
        pytest.param(
            lambda x: {"x_test": np.c_[x, x[:, :1]]},
            "spec.guardrail.dataset.uri: the model does not take samples of float32 [17]",
            id="a column too many",
        ),
        pytest.param(
            lambda x: {"x_test": x.astype(float)},
            "Actual: (tensor(double)) , expected: (tensor(float))); store them as it expects them",
            id="float64",
        ),
        pytest.param(lambda x: {"x_test": (10 * x).astype(np.int64)}, "Actual: (tensor(int64))", id="int64"),
        pytest.param(lambda x: {"x_test": x > 0}, "x_test holds bool; store the numbers", id="bool"),
        pytest.param(
            lambda x: {"x_train": np.full_like(x, np.inf), "y_train": np.zeros(len(x), int)},
            "x_train holds NaN or infinity, first in sample 0; remove such samples",
            id="infinite training data",
        ),
        pytest.param(
            lambda x: {"y_test": np.full(len(x), 7)},
            "the labels go up to 7, but the model tells 3 classes (0 to 2) apart",
            id="labels out of range",
        ),
        pytest.param(
            lambda x: {"x_test": x[:3], "y_test": np.zeros(3, int)},
            "3 samples are too few to calibrate with some and judge on the others",
            id="too few",
        ),
    ],
)
def test_data_that_does_not_fit(execute, asked, arrays, message):
    """Told before a step begins: what a step would have to say of it names neither field nor remedy."""
    reason, found = refused(execute, asked(arrays=arrays, steps=INT8))
    assert reason == Reason.DATASET_INVALID
    assert message in found


def test_values_that_overflow(execute, asked):
    """No range of int8 reaches infinity: the tensor is named."""
    reason, message = refused(execute, asked(arrays=lambda x: {"x_test": np.full_like(x, 3e38)}, steps=INT8))
    assert reason == Reason.STEP_FAILED
    assert message == (
        "spec.compression.steps[0].quantize: the values of scores reach infinity on the calibration samples, which no "
        "range of int8 covers; scale the inputs, or name the layer in keep"
    )


@pytest.mark.parametrize("metric", ["Accuracy", "F1", "ExactMatch"])
def test_one_class_alone_can_be_judged(execute, asked, metric):
    """The score is low and the same on both sides; nothing is divided by zero."""
    found = execute(asked(arrays=lambda x: {"y_test": np.zeros(len(x), int)}, metric=metric)).guardrail
    assert (found.verdict, found.drop) == (Verdict.PASSED, "0.000000")


def test_one_class_alone_has_no_auroc(execute, asked):
    """It compares two."""
    spec = asked(arrays=lambda x: {"y_test": np.zeros(len(x), int)}, metric="AUROC")
    assert refused(execute, spec)[1].endswith(
        "not defined on these samples; it needs at least two classes in the labels"
    )


def test_a_graph_of_one_sample(execute, asked):
    """Batch 1 alone: calibrated, quantized and judged all the same."""
    assert execute(asked(batch=1, steps=INT8)).guardrail.verdict is Verdict.PASSED


def nan_weights(model):
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[0, 0] = np.inf
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))


def always_nan(model):
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.float32), "minus"))
    model.graph.node[0].output[0] = "product"
    squared = helper.make_node("Mul", ["product", "product"], ["square"])
    negative = helper.make_node("Mul", ["square", "minus"], ["negative"])
    model.graph.node.extend([squared, negative, helper.make_node("Sqrt", ["negative"], ["scores"])])


def weights_in_an_attribute(model):
    tensor = TensorProto(name="c", data_type=1, dims=[16, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../../../../../../../etc/passwd")
    model.graph.node[0].input[1] = "constant"
    model.graph.node.insert(0, helper.make_node("Constant", [], ["constant"], value=tensor))


def weights_at(location, **more):
    def change(model):
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            weight.external_data.add(key=key, value=value)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(nan_weights, "w, the weight of head, holds NaN or infinity", id="infinite weight"),
        pytest.param(always_nan, "the model answers NaN to sample 0 of spec.guardrail.dataset.uri", id="NaN answers"),
        pytest.param(weights_in_an_attribute, "keeps c at ../../../", id="path in an attribute"),
        pytest.param(weights_at("/etc/passwd"), "keeps w at /etc/passwd, outside the source's folder", id="absolute"),
        pytest.param(weights_at(""), "should not be empty", id="no path"),
        pytest.param(weights_at("none.bin"), "none.bin, but it is not regular file", id="missing"),
        pytest.param(weights_at("model.onnx", offset="-1"), "offset must be non-negative", id="negative offset"),
        pytest.param(weights_at("model.onnx", length="9" * 14), "exceeds available data", id="length beyond the end"),
    ],
)
def test_models_that_do_harm(execute, asked, change, message):
    """Files are read inside the source's folder only, and weights have to be numbers."""
    reason, found = refused(execute, asked(change, steps=INT8))
    assert reason == Reason.SOURCE_INVALID
    assert message in found


@pytest.mark.parametrize(("offset", "split"), [(10**12, "test"), (-(10**6), "test"), (10**12, "train")])
def test_tokens_that_the_vocabulary_does_not_have(execute, request_for, tmp_path, offset, split):
    """One token in the middle of one data set is found at once."""
    table = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["vectors"], name="embedding"),
        helper.make_node("ReduceMean", ["vectors", "axis"], ["scores"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axis")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    ids = {name: np.random.default_rng(1).integers(0, 50, size=(300, 6)) for name in ("test", "train")}
    ids[split][200, 3] += offset
    arrays = {f"ids_{name}": values for name, values in ids.items()}
    np.savez(tmp_path / "d.npz", **arrays, y_test=np.zeros(300, int), y_train=np.zeros(300, int))
    steps = [{"quantize": {"scheme": "INT8", "calibration": {"samples": 300}}}]
    spec = request_for(
        source={"uri": (tmp_path / "m.onnx").as_uri()},
        compression={"steps": steps},
        guardrail={"dataset": {"uri": (tmp_path / "d.npz").as_uri()}},
    )
    reason, message = refused(execute, spec)
    assert reason == Reason.DATASET_INVALID
    where = {"test": "spec.guardrail.dataset.uri", "train": "spec.compression.steps[0].quantize"}[split]
    assert message.startswith(f"{where}: the model does not take samples of int64 [6]")
    assert "out of data bounds" in message


def claiming(path, shape, body=b"", dtype="<f4"):
    """Write an array that says that it has such a shape, and has only `body`."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    labels = io.BytesIO()
    np.save(labels, np.zeros(400, int))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_test.npy", header.getvalue() + body)
        archive.writestr("y_test.npy", labels.getvalue())


@pytest.mark.parametrize(
    ("shape", "body"), [((10**12, 16), b""), ((2**70, 16), b""), ((400, 16), bytes(100)), ((-1, 16), b"")]
)
def test_arrays_that_claim_to_be_larger(execute, asked, tmp_path, shape, body):
    """Memory is asked for only when the bytes are there."""
    spec = asked()
    claiming(tmp_path / "data.npz", shape, body)
    reason, message = refused(execute, spec)
    assert reason == Reason.DATASET_INVALID
    assert message.endswith("x_test cannot be read: the file is damaged; write it again")


def test_a_library_that_gives_up_is_told_by_the_step(execute, asked, monkeypatch):
    """Whatever it raises: the step is named, and trying again is of no use."""

    def broken(*_):
        raise AssertionError("scale issue")

    monkeypatch.setitem(registry._TECHNIQUES, Quantize, broken)
    reason, message = refused(execute, asked(steps=INT8))
    assert reason == Reason.STEP_FAILED
    assert message.startswith(
        "spec.compression.steps[0].quantize: cannot be done with this model (AssertionError: scale"
    )

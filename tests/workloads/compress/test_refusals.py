import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled


def refused(execute, spec):
    with pytest.raises(Stalled) as caught:
        execute(spec)
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    ("names", "reason", "message"),
    [
        ([], Reason.SOURCE_NOT_FOUND, "does not exist or is empty"),
        (["notes.txt"], Reason.SOURCE_INVALID, "holds no model (found notes.txt); put an .onnx file there"),
        (["model.pt"], Reason.SOURCE_INVALID, "holds model.pt, a PyTorch pickle: loading it can run any code"),
        (["model.joblib"], Reason.SOURCE_INVALID, "holds model.joblib, a pickle"),
        (["model.safetensors"], Reason.SOURCE_INVALID, "spec.source.entrypoint: not set"),
        (["config.json", "model.safetensors"], Reason.SOURCE_INVALID, "config.json cannot be read"),
        (["a.onnx", "b.onnx"], Reason.SOURCE_INVALID, "holds 2 .onnx files (a.onnx, b.onnx); name the one to optimise"),
        (["a.onnx"], Reason.SOURCE_INVALID, "a.onnx is no ONNX model"),
    ],
)
def test_sources_that_are_none(execute, request_for, tmp_path, names, reason, message):
    """Whatever lies there instead of a model, the message names it and says what to do."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"\xff\xfe no model")
    found = refused(execute, request_for(source={"uri": folder.as_uri()}))
    assert found[0] == reason
    assert message in found[1]


def test_code_needs_permission(execute, request_for):
    """Without the platform's word, nothing of the customer's runs."""
    reason, message = refused(execute, request_for(allowCode=False))
    assert reason == Reason.CODE_NOT_ALLOWED
    assert "ask the platform team to add the namespace to TRIMTAB_ALLOW_CODE_NAMESPACES" in message


@pytest.mark.parametrize(
    ("code", "entrypoint", "message"),
    [
        ("", "other:build", "other.py does not exist"),
        ("", "model:build", "model.py has no build; correct spec.source.entrypoint"),
        ("def build(): return 3", "model:build", "model:build returned int; it must return a torch.nn.Module"),
        ("def build(): raise KeyError('x')", "model:build", "model:build failed (KeyError: 'x')"),
        ("import no_such_module", "model:build", "failed (ModuleNotFoundError: No module named 'no_such_module')"),
        ("import torch\ndef build(): return torch.nn.Linear(2, 2)", "model:build", "does not fit model:build: missing"),
    ],
)
def test_python_sources_that_do_not_load(execute, request_for, tmp_path, customer, code, entrypoint, message):
    """Each way to get a Python source wrong names the file, the function or the keys."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model.py").write_text(code)
    (folder / "model.safetensors").write_bytes((customer[0] / "model.safetensors").read_bytes())
    reason, found = refused(execute, request_for(source={"uri": folder.as_uri(), "entrypoint": entrypoint}))
    assert reason == Reason.SOURCE_INVALID
    assert message in found


def test_weights_of_another_shape(execute, request_for, tmp_path, customer):
    """Keys that fit by name but not by shape are listed with both."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "digits_model.py").write_bytes((customer[0] / "digits_model.py").read_bytes())
    weights = load_file(customer[0] / "model.safetensors") | {"7.bias": np.zeros(11, np.float32)}
    save_file(weights, folder / "model.safetensors")
    spec = request_for(source={"uri": folder.as_uri(), "entrypoint": "digits_model:build"})
    assert "of another shape: 7.bias [11] instead of [10]" in refused(execute, spec)[1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x_val": np.zeros((9, 4)), "y_val": np.zeros(9, int)},
            "has no arrays x_test and y_test (it has x_val, y_val)",
        ),
        ({"x_test": np.zeros((9, 4)), "y_test": np.zeros(8, int)}, "x_test has 9 samples and y_test has 8"),
        ({"x_test": np.zeros((9, 4)), "y_test": np.zeros(9)}, "y_test is float32 [9]; it must hold one integer class"),
        (
            {"x_test": np.full((9, 4), np.nan), "y_test": np.zeros(9, int)},
            "x_test holds NaN or infinity, first in sample 0",
        ),
        ({"x_test": np.zeros((9, 4)), "y_test": np.full(9, -1)}, "y_test holds -1; classes are counted from 0"),
        ({"x_test": np.zeros(9), "y_test": np.zeros(9, int)}, "x_test has shape [9]; it must be [samples, …]"),
        ({"x_test": np.array(["a"] * 9).reshape(9, 1), "y_test": np.zeros(9, int)}, "x_test holds <U1"),
        (
            {"x_test": np.array([{}] * 9, object).reshape(9, 1), "y_test": np.zeros(9, int)},
            "x_test holds Python objects, which are refused",
        ),
    ],
)
def test_data_sets_that_cannot_judge(execute, request_for, tmp_path, arrays, message):
    """A data set's fault is named with its array; objects are never unpickled."""
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    reason, found = refused(execute, request_for(guardrail={"dataset": {"uri": path.as_uri()}}))
    assert reason == Reason.DATASET_INVALID
    assert found.startswith(f"spec.guardrail.dataset.uri: {path.as_uri()}")
    assert message in found


def test_a_data_set_that_is_not_there_or_no_archive(execute, request_for, tmp_path):
    """DatasetNotFound and DatasetInvalid, each with its remedy."""
    missing = {"dataset": {"uri": (tmp_path / "none.npz").as_uri()}}
    assert refused(execute, request_for(guardrail=missing))[0] == Reason.DATASET_NOT_FOUND
    (tmp_path / "text.npz").write_text("hello")
    broken = {"dataset": {"uri": (tmp_path / "text.npz").as_uri()}}
    reason, message = refused(execute, request_for(guardrail=broken))
    assert reason == Reason.DATASET_INVALID
    assert "is no .npz file; write it with numpy.savez_compressed" in message


def test_data_of_another_model(execute, request_for, tmp_path):
    """Samples that the model does not take, and labels that it does not know."""
    np.savez(tmp_path / "flat.npz", x_test=np.zeros((200, 64), np.float32), y_test=np.zeros(200, int))
    flat = request_for(guardrail={"dataset": {"uri": (tmp_path / "flat.npz").as_uri()}})
    assert "does not take samples of the guardrail's data set, float32 [64]" in refused(execute, flat)[1]
    np.savez(tmp_path / "many.npz", x_test=np.zeros((200, 1, 8, 8), np.float32), y_test=np.full(200, 10))
    many = request_for(guardrail={"dataset": {"uri": (tmp_path / "many.npz").as_uri()}})
    assert "labels go up to 10, but the model tells 10 classes (0 to 9) apart" in refused(execute, many)[1]


def test_training_needs_training_data(execute, request_for, customer, tmp_path):
    """A recipe that trains says what to add, or which preset does without."""
    with np.load(customer[1]) as arrays:
        np.savez(tmp_path / "test-only.npz", x_test=arrays["x_test"], y_test=arrays["y_test"])
    guardrail = {"dataset": {"uri": (tmp_path / "test-only.npz").as_uri()}}
    steps = [{"prune": {"sparsity": "50%"}}, {"distill": {"epochs": 1}}]
    reason, message = refused(execute, request_for(compression={"steps": steps}, guardrail=guardrail))
    assert reason == Reason.DATASET_INVALID
    assert message.startswith("spec.compression.steps[1].distill: needs training data")
    assert "use preset Fast" in message


@pytest.mark.parametrize(
    ("steps", "reason", "message"),
    [
        (
            [{"quantize": {"scheme": "INT8", "keep": ["layer9*"]}}],
            Reason.INVALID_SPEC,
            "keep: layer9* matches no layer; the layers are ",
        ),
        (
            [{"finetune": {"epochs": 2, "learningRate": "1000000000"}}],
            Reason.STEP_FAILED,
            "spec.compression.steps[0].finetune: the loss became",
        ),
        (
            [{"distill": {"alpha": "2"}}],
            Reason.INVALID_SPEC,
            "temperature 2 and alpha 2: the one must be above 0, the other from 0 to 1",
        ),
        (
            [{"quantize": {"scheme": "INT8"}}, {"finetune": {"epochs": 1}}],
            Reason.INVALID_SPEC,
            "spec.compression.steps[1].finetune: comes after quantize",
        ),
        (
            [{"cluster": {"clusters": 16}}, {"finetune": {"epochs": 1}}],
            Reason.INVALID_SPEC,
            "spec.compression.steps[1].finetune: comes after cluster, whose result is no network to finetune",
        ),
        (
            [{"cluster": {"clusters": 16}}, {"quantize": {"scheme": "INT8"}}],
            Reason.INVALID_SPEC,
            "spec.compression.steps[0].cluster: does not go together with spec.compression.steps[1].quantize",
        ),
        (
            [{"cluster": {"clusters": 16}}, {"compile": {"engine": "OpenVino"}}],
            Reason.INVALID_SPEC,
            "spec.compression.steps[0].cluster: OpenVino stores looked-up weights in full",
        ),
        (
            [{"prune": {"method": "Layers", "sparsity": "50%", "scope": "Global"}}],
            Reason.NOT_SUPPORTED,
            "spec.compression.steps[0].prune.scope: Global with method Layers is not supported by this version; leave",
        ),
        (
            [{"prune": {"sparsity": "50%", "epochs": 3}}],
            Reason.NOT_SUPPORTED,
            "steps[0].prune.epochs: 3 with schedule OneShot, where nothing trains, is not supported by this version",
        ),
        (
            [{"quantize": {"scheme": "INT8", "epochs": 3}}],
            Reason.NOT_SUPPORTED,
            "steps[0].quantize.epochs: 3 with method PostTraining, where nothing trains, is not supported by this",
        ),
        (
            [{"quantize": {"scheme": "BF16"}}],
            Reason.NOT_SUPPORTED,
            "spec.compression.steps[0].quantize.scheme: BF16 without OpenVino is not supported by this version; add a",
        ),
        (
            [{"quantize": {"scheme": "FP16", "method": "QuantizationAware"}}],
            Reason.NOT_SUPPORTED,
            "quantize.method: QuantizationAware with scheme FP16 is not supported by this version; use scheme INT8",
        ),
        (
            [{"quantize": {"scheme": "INT8Dynamic"}}],
            Reason.STEP_HAD_NO_EFFECT,
            "0.5% of the weights became int8 (4 convolutions stay FP32, which is faster than dynamic int8; use INT8)",
        ),
    ],
)
def test_steps_that_cannot_be_done(execute, request_for, steps, reason, message):
    """A step that is not supported, not in order, or changes nothing names its field, the value and the remedy."""
    found = refused(execute, request_for(compression={"steps": steps}))
    assert found[0] == reason
    assert message in found[1]


def test_graphs_cannot_be_trained(execute, request_for, a_graph, a_dataset, tmp_path):
    """An ONNX source with a training step says what to use instead."""
    data = a_dataset(tmp_path / "data.npz", a_graph(tmp_path / "model.onnx"))
    spec = request_for(
        source={"uri": (tmp_path / "model.onnx").as_uri()},
        compression={"steps": [{"finetune": {"epochs": 1}}]},
        guardrail={"dataset": {"uri": data.as_uri()}},
    )
    reason, message = refused(execute, spec)
    assert reason == Reason.NOT_SUPPORTED
    assert "an ONNX source cannot be pruned or trained; use a preset" in message


def test_custom_operators_are_code(execute, request_for, a_graph, a_dataset, tmp_path):
    """An operator that needs a library is refused, by its domain."""
    data = a_dataset(tmp_path / "data.npz", a_graph(tmp_path / "model.onnx", domain="acme.ops"))
    spec = request_for(
        source={"uri": (tmp_path / "model.onnx").as_uri()}, guardrail={"dataset": {"uri": data.as_uri()}}
    )
    assert "uses operators of acme.ops, which need a library" in refused(execute, spec)[1]


def test_external_data_stays_inside(execute, request_for, a_graph, a_dataset, tmp_path):
    """Weights kept outside the source's folder are refused: they may be any file of the machine."""
    path = tmp_path / "source" / "model.onnx"
    data = a_dataset(tmp_path / "data.npz", a_graph(path))
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../../etc/passwd")
    path.write_bytes(model.SerializeToString())
    spec = request_for(source={"uri": path.parent.as_uri()}, guardrail={"dataset": {"uri": data.as_uri()}})
    assert "keeps w at ../../../etc/passwd, outside the source's folder" in refused(execute, spec)[1]


def test_one_hundred_percent_is_no_confidence(execute, request_for, customer):
    """Certainty is refused with the field and what to write."""
    spec = request_for(guardrail={"dataset": {"uri": customer[1].as_uri()}, "confidence": "100%"})
    reason, message = refused(execute, spec)
    assert reason == Reason.INVALID_SPEC
    assert message.startswith("spec.guardrail.confidence: a confidence of 100% has no interval")

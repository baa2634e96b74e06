"""Fewer inputs for networks over tables; clients go on sending all of them."""

import json
import warnings

import numpy as np
import onnx
import pytest
import skops.io
import torch
from safetensors.torch import save_model
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from stops import StopAt
from torch import nn

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.errors import Stalled
from trimtab.workloads.compress.inputs import fold, insert_reduction
from trimtab.workloads.compress.stopping import Interrupted
from trimtab.workloads.compress.techniques.reduce import projection

CODE = """
from torch import nn
def build():
    hidden = (nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU())
    return nn.Sequential(nn.BatchNorm1d(30), *hidden, nn.Linear(16, 2))
"""


@pytest.fixture(scope="module")
def tumours(tmp_path_factory):
    """A network over the 30 columns of the breast cancer table, and its data: (source folder, data file)."""
    folder = tmp_path_factory.mktemp("tumours")
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x.astype(np.float32), y, test_size=0.5, random_state=0)
    np.savez(folder / "data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    torch.manual_seed(0)
    source = folder / "source"
    source.mkdir()
    (source / "tumour_model.py").write_text(CODE)
    scope = {}
    exec(CODE, scope)
    network = scope["build"]()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(torch.from_numpy(x_train)), torch.from_numpy(y_train)).backward()
        optimizer.step()
    save_model(network.eval(), str(source / "model.safetensors"))
    return source, folder / "data.npz"


@pytest.fixture
def tumour_request(tumours, request_for, tmp_path):
    """Build a request of steps over the tumours."""

    def build(*steps, name="out"):
        return request_for(
            source={"uri": tumours[0].as_uri(), "entrypoint": "tumour_model:build"},
            compression={"steps": list(steps)},
            guardrail={"dataset": {"uri": tumours[1].as_uri()}, "maxDrop": "5pp", "confidence": "80%"},
            output=(tmp_path / name).as_uri(),
        )

    return build


def told(tmp_path):
    (report,) = (tmp_path / "out" / "digits").glob("*/report/report.json")
    return json.loads(report.read_text())


@pytest.mark.parametrize(
    ("parameters", "kept"),
    [({"method": "PCA", "components": "90%"}, 7), ({"method": "SelectKBest", "components": "60%"}, 18)],
)
def test_fewer_inputs_cost_less_and_tell_as_much(tumour_request, execute, tmp_path, parameters, kept):
    """Weights and multiplications fall, accuracy holds after fine-tuning, and all 30 columns are still sent."""
    result = execute(tumour_request({"reduceInputs": parameters}, {"finetune": {"epochs": 10}}))
    report = told(tmp_path)
    facts = report["steps"][0]["facts"]
    assert (facts["inputsBefore"], facts["inputsAfter"]) == (30, kept)
    assert facts["parametersAfter"] < 0.8 * facts["parametersBefore"]
    assert facts["macsAfter"] < 0.8 * facts["macsBefore"]
    assert result.guardrail.verdict == "Passed", result.guardrail.message
    (model,) = (tmp_path / "out" / "digits").glob("*/model.onnx")
    (form,) = onnx.load(model).graph.input
    assert form.type.tensor_type.shape.dim[1].dim_value == 30


def test_the_projection_is_exact_where_inputs_depend_on_each_other(tmp_path):
    """With 5 columns that repeat 3, three components answer as the network did, before any training."""
    torch.manual_seed(0)
    x = torch.randn(200, 3) @ torch.randn(3, 5) * 7 + 3
    network = nn.Sequential(nn.Linear(5, 4))
    wanted, linear = network(x), network[0]
    reduction, held = projection(x, 0.9999)
    fold(linear, reduction, insert_reduction(network, "0", 3, selects=False))
    assert reduction.rebuild.shape == (5, 3)
    assert held == 1
    assert torch.allclose(network(x), wanted, atol=1e-4)


def test_reduced_networks_can_be_pruned_and_resumed(tumour_request, execute, tmp_path):
    """Stopped behind the reduction and pruning, a run rebuilds both from its checkpoint, to the same bytes."""

    steps = (
        {"reduceInputs": {"method": "SelectKBest", "components": "50%"}},
        {"prune": {"sparsity": "50%"}},
        {"finetune": {"epochs": 4}},
        {"finetune": {"epochs": 6}},
        {"quantize": {"scheme": "INT8"}},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a pruner that knows nothing about gathers
        whole = execute(tumour_request(*steps, name="whole"))
        with pytest.raises(Interrupted):
            execute(tumour_request(*steps, name="broken"), stop=StopAt(40))
        assert execute(tumour_request(*steps, name="broken")).artifact.digest == whole.artifact.digest


@pytest.mark.parametrize(
    ("parameters", "reason", "message"),
    [
        (
            {"method": "PCA", "components": "100%"},
            Reason.STEP_HAD_NO_EFFECT,
            "reduceInputs: components 100% keeps 30 of 30 inputs, and the network has",
        ),
        (
            {"method": "SelectKBest", "components": "100%"},
            Reason.STEP_HAD_NO_EFFECT,
            "lower components, or remove the step",
        ),
    ],
)
def test_reductions_that_reduce_nothing(tumour_request, execute, parameters, reason, message):
    """Keeping everything is no step."""
    with pytest.raises(Stalled) as caught:
        execute(tumour_request({"reduceInputs": parameters}))
    assert caught.value.reason == reason
    assert message in caught.value.message


def test_pictures_are_no_table(request_for, execute):
    """What has rows and columns of pixels is refused with its form."""
    with pytest.raises(Stalled) as caught:
        execute(request_for(compression={"steps": [{"reduceInputs": {"method": "PCA", "components": "90%"}}]}))
    assert caught.value.reason == Reason.DATASET_INVALID
    assert "reduces the columns of a table x [samples, inputs], not of [1, 8, 8]" in caught.value.message


def test_graphs_cannot_learn_again(request_for, execute, a_graph, a_dataset, tmp_path):
    """An ONNX source says what could."""
    data = a_dataset(tmp_path / "data.npz", a_graph(tmp_path / "model.onnx"))
    spec = request_for(
        source={"uri": (tmp_path / "model.onnx").as_uri()},
        compression={"steps": [{"reduceInputs": {"method": "PCA", "components": "90%"}}]},
        guardrail={"dataset": {"uri": data.as_uri()}},
    )
    with pytest.raises(Stalled) as caught:
        execute(spec)
    assert caught.value.reason == Reason.NOT_SUPPORTED
    assert "give the scikit-learn estimator itself as skops file, or a network as code" in caught.value.message


@pytest.fixture
def estimator_for(tumours, request_for, tmp_path):
    """Build a request that reduces the inputs of an estimator fitted to the tumours."""

    def build(estimator, *steps, name="out", **guardrail):
        if not (tmp_path / "model.skops").exists():
            with np.load(tumours[1]) as arrays:
                fitted = estimator.fit(arrays["x_train"], arrays["y_train"])
            skops.io.dump(fitted, tmp_path / "model.skops")
        return request_for(
            source={"uri": (tmp_path / "model.skops").as_uri()},
            compression={"steps": list(steps)},
            guardrail={"dataset": {"uri": tumours[1].as_uri()}, "maxDrop": "10pp", **guardrail},
            output=(tmp_path / name).as_uri(),
            allowCode=False,
        )

    return build


@pytest.mark.parametrize(
    ("estimator", "method", "components", "kept"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), "PCA", "90%", 7),
        (RandomForestClassifier(n_estimators=10), "SelectKBest", "30%", 9),
    ],
)
def test_estimators_are_fitted_anew(estimator_for, execute, tmp_path, estimator, method, components, kept):
    """Fewer inputs, as accurate, and always the same: a forest without a seed gets the step's."""
    step = {"reduceInputs": {"method": method, "components": components}}
    result = execute(estimator_for(estimator, step))
    assert result.guardrail.verdict is Verdict.PASSED, result.guardrail.message
    (report,) = (tmp_path / "out" / "digits").glob("*/report/report.json")
    facts = json.loads(report.read_text())["steps"][0]["facts"]
    assert (facts["inputsBefore"], facts["inputsAfter"]) == (30, kept)
    assert execute(estimator_for(estimator, step, name="again")).artifact.digest == result.artifact.digest


@pytest.mark.parametrize(
    ("steps", "reason", "message"),
    [
        (
            [{"reduceInputs": {"method": "SelectKBest", "components": "100%"}}],
            Reason.STEP_HAD_NO_EFFECT,
            "components 100% keeps 30 of 30 inputs; lower components, or remove the step",
        ),
        (
            [{"quantize": {"scheme": "FP16"}}, {"reduceInputs": {"method": "PCA", "components": "90%"}}],
            Reason.INVALID_SPEC,
            "spec.compression.steps[1].reduceInputs: comes after other steps, but fits the estimator",
        ),
        (
            [{"finetune": {"epochs": 1}}],
            Reason.NOT_SUPPORTED,
            "spec.compression.steps[0].finetune: an ONNX source cannot be pruned or trained",
        ),
    ],
)
def test_what_estimators_cannot_do(estimator_for, execute, steps, reason, message):
    """Field, what is wrong, and the remedy."""
    with pytest.raises(Stalled) as caught:
        execute(estimator_for(LogisticRegression(max_iter=5000), *steps))
    assert caught.value.reason == reason
    assert message in caught.value.message

"""What pruning removes, from real networks, and that what it removed stays away."""

import types

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from safetensors.torch import save_file
from stops import StopAt
from torch import nn
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertForSequenceClassification

from trimtab.api.compression import Scope
from trimtab.api.conditions import Reason
from trimtab.cli.demo.customer import digits_model
from trimtab.errors import Stalled
from trimtab.store import join, open_artifact
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import forward, tensors_of
from trimtab.workloads.compress.report import REPORT_FOLDER, read_report
from trimtab.workloads.compress.sources.huggingface import Answering
from trimtab.workloads.compress.stopping import Interrupted, Stop
from trimtab.workloads.compress.structure import cut_again
from trimtab.workloads.compress.techniques.channels import Width, cost, counts, pruned, removed, units
from trimtab.workloads.compress.techniques.gradual import shares
from trimtab.workloads.compress.techniques.layers import repeated_blocks, shallower
from trimtab.workloads.compress.techniques.magnitude import sparser, sparsity_facts

IMAGES = Samples({"x": np.random.default_rng(0).random((8, 1, 8, 8), np.float32)}, None)
IDS = np.random.default_rng(0).integers(1, 60, size=(8, 6))
TEXTS = Samples({"input_ids": IDS, "attention_mask": np.ones_like(IDS)}, None)


def a_context(samples):
    """What the functions below a step need of a context."""
    return types.SimpleNamespace(
        data=types.SimpleNamespace(evaluation=samples),
        stop=Stop(),
        tick=lambda _share, _detail: None,
        failed=Stalled,
    )


def digits():
    torch.manual_seed(0)
    return digits_model.build().eval()


def bert():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=16,
        attn_implementation="eager",
    )
    return Answering(BertModel(config, add_pooling_layer=False).eval(), "mean", True).eval()


def distilbert():
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=60,
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=64,
        max_position_embeddings=16,
        attn_implementation="eager",
    )
    return Answering(DistilBertForSequenceClassification(config).eval(), "", False).eval()


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("width", "wanted", "lane", "gone"),
    [
        pytest.param(32, 16, 8, 16, id="half is whole lanes"),
        pytest.param(128, 38, 8, 40, id="close to lanes"),
        pytest.param(32, 10, 8, 8, id="lanes within a quarter"),
        pytest.param(128, 1, 8, 1, id="one percent is one, not a lane"),
        pytest.param(32, 0, 8, 0, id="nothing asked"),
        pytest.param(4, 2, 1, 2, id="heads"),
        pytest.param(4, 4, 1, 3, id="one stays"),
        pytest.param(1, 1, 8, 0, id="the last stays"),
    ],
)
def test_lanes_only_where_the_share_allows(width, wanted, lane, gone):
    """Whole lanes stay where that changes what goes by a quarter at most; otherwise the share counts."""
    assert removed(width, wanted, lane) == gone


@given(st.integers(1, 4096), st.floats(0, 1), st.sampled_from([1, 8]))
def test_what_goes_is_near_what_was_asked(width, share, lane):
    """Never more than a quarter beside the share, and one unit always stays."""
    wanted = min(round(width * share), width - 1)
    gone = removed(width, wanted, lane)
    assert 0 <= gone < width
    assert abs(gone - wanted) <= wanted * 0.25


def test_layers_compete_for_a_global_budget():
    """The smallest of all go, wherever they are; no layer loses more than nine tenths."""

    def width(name, importance):
        return Width(name, None, torch.arange(len(importance))[:, None], torch.tensor(importance), 1)

    widths = [width("weak", [0.1] * 10), width("strong", [1.0, 2.0, 3.0, 4.0])]
    before = {"weak": 10, "strong": 4}
    assert counts(widths, 0.25, Scope.PER_LAYER, before) == [2, 1]
    assert counts(widths, 0.8, Scope.GLOBAL, before) == [9, 1]


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize(("share", "least", "most"), [(0.01, 0.004, 0.03), (0.1, 0.08, 0.125), (0.5, 0.47, 0.53)])
def test_the_share_that_was_asked_for_goes(share, least, most, scope):
    """One percent of the digits' channels is one percent, not a lane of each layer."""
    context = a_context(IMAGES)
    smaller, _ = pruned(digits(), share, scope, context)
    gone = 1 - units(smaller, context) / units(digits(), context)
    assert least <= gone <= most


def test_too_small_a_share_says_what_would_do():
    """Less than one channel of the widest layer is nothing, and the message has the least that is something."""
    with pytest.raises(Stalled) as caught:
        pruned(digits(), 0.001, Scope.PER_LAYER, a_context(IMAGES))
    assert caught.value.reason == Reason.STEP_HAD_NO_EFFECT
    assert "its widest layer has 128; ask for 0.8% or more" in caught.value.message


@pytest.mark.parametrize("build", [bert, distilbert])
def test_heads_and_neurons_of_transformers_go(build):
    """Half the heads and half the neurons: less work, the same form of answer, and a cut that can be made again."""
    network, context = build(), a_context(TEXTS)
    smaller, cut = pruned(network, 0.5, Scope.PER_LAYER, context)
    assert {count for _, count in cut["heads"]} == {2}
    assert cost(smaller, context)[0] < 0.55 * cost(network, context)[0]
    inputs = tensors_of(TEXTS)
    assert forward(smaller, inputs).shape == forward(network, inputs).shape
    again = cut_again(network, [cut], tensors_of(TEXTS.first(1)))
    again.load_state_dict(smaller.state_dict())
    assert torch.equal(forward(again, inputs), forward(smaller, inputs))


def test_the_advice_of_libraries_stays_off_standard_output(capsys):
    """Standard output carries progress, one JSON object a line."""
    cost(bert(), a_context(TEXTS))
    assert capsys.readouterr().out == ""


class Residual(nn.Module):
    """A block that adds to its input."""

    def __init__(self, width, size):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.size = size

    def forward(self, x):
        return x + self.size * self.inner(x)


def a_tower(sizes):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), *(Residual(8, size) for size in sizes), nn.Linear(8, 3)).eval()


def test_the_blocks_that_matter_least_go():
    """Of four residual blocks the two with the smallest effect; the cut makes it again."""
    rows = {"x": torch.randn(16, 6, generator=torch.Generator().manual_seed(0))}
    network, context = a_tower([1.0, 0.01, 2.0, 0.02]), a_context(None)
    assert [block.name for block in repeated_blocks(network, rows)] == ["1", "2", "3", "4"]
    smaller, cut, facts = shallower(network, 0.5, rows, context)
    assert facts["removed"] == ["2", "4"]
    assert max(map(float, facts["effects"])) < 0.05
    assert parameters(smaller) == parameters(network) - 2 * parameters(network[1])
    again = cut_again(network, [cut], rows)
    assert torch.equal(forward(again, rows), forward(smaller, rows))


def test_encoder_layers_of_transformers_go():
    """A quarter of four layers is one; the rest answers in the same form."""
    network, inputs = bert(), tensors_of(TEXTS)
    smaller, _, facts = shallower(network, 0.25, inputs, a_context(TEXTS))
    assert (facts["layersBefore"], facts["layersAfter"]) == (4, 3)
    assert parameters(smaller) < parameters(network)
    assert forward(smaller, inputs).shape == forward(network, inputs).shape


@pytest.mark.parametrize(
    ("network", "share", "message"),
    [
        (nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3)), 0.5, "has 0 blocks that give the form that they take"),
        (a_tower([1.0, 1.0, 1.0, 1.0]), 0.1, "10% of 4 layers is none; ask for 25% or more"),
    ],
)
def test_networks_without_layers_to_spare(network, share, message):
    """The message says how many there are, and what would do."""
    with pytest.raises(Stalled) as caught:
        shallower(network.eval(), share, {"x": torch.zeros(4, 6)}, a_context(None))
    assert caught.value.reason == Reason.STEP_HAD_NO_EFFECT
    assert message in caught.value.message


@pytest.mark.parametrize("scope", list(Scope))
def test_the_smallest_weights_become_zero(scope):
    """The share is exact; per layer each loses it, over all the layers they compete."""
    sparse, _ = sparser(digits(), 0.6, scope, a_context(IMAGES))
    facts = sparsity_facts(sparse)
    assert facts["zerosPercent"] == pytest.approx(60, abs=0.1)
    assert facts["storageOnly"]
    layers = [module.weight for module in sparse.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    each = [float((weight == 0).float().mean()) for weight in layers]
    assert (max(each) - min(each) < 0.01) == (scope is Scope.PER_LAYER)


def test_zeros_that_are_there_already_do_not_count():
    """A second step with the same share changes nothing, and says so."""
    sparse, _ = sparser(digits(), 0.5, Scope.GLOBAL, a_context(IMAGES))
    with pytest.raises(Stalled, match="is none more; raise the share"):
        sparser(sparse, 0.5, Scope.GLOBAL, a_context(IMAGES))


def test_the_share_rises_along_a_cubic():
    """Fast at first, slowly at the end, and to the share itself."""
    assert shares(0.8, 2) == pytest.approx([0.7, 0.8])
    rising = shares(0.5, 6)
    steps = np.diff([0, *rising])
    assert rising[-1] == 0.5
    assert list(steps) == sorted(steps, reverse=True)


def facts_of(result, folder):
    open_artifact(join(result.artifact.uri, REPORT_FOLDER), None, folder)
    return [step["facts"] for step in read_report(folder)["steps"]]


def zeros_of(result, folder):
    """Return the share of zeros among the weights of an artifact's graph."""
    open_artifact(result.artifact.uri, result.artifact.digest, folder)
    arrays = [numpy_helper.to_array(t) for t in onnx.load(folder / "model.onnx").graph.initializer if len(t.dims) > 1]
    return sum(int((array == 0).sum()) for array in arrays) / sum(array.size for array in arrays)


def test_zeros_survive_training(request_for, execute, customer, tmp_path):
    """Pruned while training, then tuned on: the artifact has the zeros that were asked for, and is as accurate."""
    steps = [
        {"prune": {"method": "Magnitude", "sparsity": "80%", "schedule": "Gradual", "scope": "Global"}},
        {"finetune": {"epochs": 1}},
    ]
    result = execute(request_for(compression={"steps": steps}))
    assert zeros_of(result, tmp_path / "artifact") == pytest.approx(0.8, abs=0.01)
    assert float(result.guardrail.baseline) - float(result.guardrail.candidate) < 0.03
    prune, _ = facts_of(result, tmp_path / "report")
    assert (prune["stages"], prune["storageOnly"]) == (6, True)
    assert prune["zerosPercent"] == pytest.approx(80, abs=0.1)


@pytest.fixture
def few(customer, tmp_path):
    """A part of the customer's data."""
    with np.load(customer[1]) as arrays:
        np.savez(tmp_path / "few.npz", **{name: arrays[name][:256] for name in arrays})
    return {"uri": (tmp_path / "few.npz").as_uri()}


@pytest.fixture
def tower(tmp_path):
    """A source of residual blocks from end to end."""
    folder = tmp_path / "tower"
    folder.mkdir()
    (folder / "tower.py").write_text(TOWER)
    scope: dict = {}
    exec(TOWER, scope)
    torch.manual_seed(0)
    save_file(scope["build"]().state_dict(), folder / "model.safetensors")
    return {"uri": folder.as_uri(), "entrypoint": "tower:build"}


@pytest.mark.parametrize(("method", "share"), [("Structured", "50%"), ("Magnitude", "70%"), ("Layers", "70%")])
def test_gradual_pruning_goes_on_where_it_stopped(request_for, execute, few, tower, tmp_path, method, share):
    """Stopped in two of its stages, it makes the bytes of an undisturbed run."""

    def spec(name):
        step = {"prune": {"method": method, "sparsity": share, "schedule": "Gradual", "epochs": 1}}
        return request_for(
            compression={"steps": [step]},
            output=(tmp_path / name).as_uri(),
            guardrail={"dataset": few, "mode": "Report"},
            **({"source": tower} if method == "Layers" else {}),
        )

    looks = StopAt()
    whole = execute(spec("whole"), stop=looks)
    for look in (looks.looks // 4, looks.looks // 3):
        with pytest.raises(Interrupted):
            execute(spec("broken"), stop=StopAt(look))
    assert execute(spec("broken")).artifact.digest == whole.artifact.digest
    (facts,) = facts_of(whole, tmp_path / "report")
    assert facts["epochs"] == facts["stages"]
    if method == "Structured":
        assert facts["channelsRemovedPercent"] == pytest.approx(50, abs=3)
        assert facts["parametersAfter"] < facts["parametersBefore"] / 3
    if method == "Layers":
        assert (facts["layersBefore"], facts["layersAfter"], len(facts["removed"])) == (3, 1, 2)


def test_layers_are_chosen_on_samples_that_do_not_judge(request_for, execute, tower, few, tmp_path):
    """A network of residual blocks from end to end: one block fewer, recovered by training."""
    steps = [{"prune": {"method": "Layers", "sparsity": "40%"}}, {"finetune": {"epochs": 1}}]
    guardrail = {"dataset": few, "mode": "Report"}
    result = execute(request_for(source=tower, compression={"steps": steps}, guardrail=guardrail))
    prune, _ = facts_of(result, tmp_path / "report")
    assert (prune["layersBefore"], prune["layersAfter"]) == (3, 2)
    assert prune["parametersAfter"] < prune["parametersBefore"]


TOWER = """
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(32, 32)

    def forward(self, x):
        return x + self.inner(x).relu()


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), Block(), Block(), Block(), nn.Linear(32, 10))
"""

"""torch.export archives: read as data, rebuilt layer by layer, and refused where they would run code."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.errors import Stalled
from trimtab.workloads.compress.sources.archive import ArchiveError, read_archive
from trimtab.workloads.compress.sources.rebuilding import rebuild


class Residual(nn.Module):
    """Two convolutions around a batch norm, beside a shortcut; one activation used twice."""

    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU()
        self.register_buffer("scale", torch.full((1,), 0.5))

    def forward(self, x):
        return self.relu(x + self.scale * self.second(self.relu(self.norm(self.first(x)))))


class Reader(nn.Module):
    """Embeddings through a transformer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 3)

    def forward(self, ids):
        return self.head(self.encoder(self.embedding(ids)).mean(1))


class Pair(nn.Module):
    """Two inputs by name."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, left, right):
        return self.layer(left) - self.layer(right)


IMAGES = nn.Sequential(
    nn.Conv2d(1, 16, 3, stride=2),
    Residual(16),
    nn.Dropout(0.5),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(16, 4),
)


def save(network, path, *example):
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network.eval(), example, dynamic_shapes=tuple({0: batch} for _ in example))
    torch.export.save(program, path)
    return path


@pytest.mark.parametrize(
    ("network", "example"),
    [
        pytest.param(IMAGES, (torch.randn(2, 1, 16, 16),), id="convolutions"),
        pytest.param(Reader(), (torch.randint(0, 50, (2, 7)),), id="transformer"),
        pytest.param(Pair(), (torch.randn(2, 4), torch.randn(2, 4)), id="two inputs"),
    ],
)
def test_a_rebuilt_network_says_the_same(network, example, tmp_path):
    """For another number of samples, with its layers under their old names."""
    rebuilt = rebuild(read_archive(save(network, tmp_path / "n.pt2", *example))).eval()
    more = tuple(torch.cat([x, x, x[:1]]) for x in example)
    torch.testing.assert_close(rebuilt(*more), network(*more))
    kinds = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.Embedding)
    layers = {name for name, layer in network.named_modules() if isinstance(layer, kinds)}
    assert layers <= {name for name, layer in rebuilt.named_modules() if isinstance(layer, kinds)}


def test_an_archive_is_pruned_trained_and_quantized(customer, execute, request_for, tmp_path):
    """The digits as an archive go the whole way, without any permission to run code."""
    with np.load(customer[1]) as data:
        x, y = (torch.from_numpy(data[name]) for name in ("x_train", "y_train"))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 24, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 36, 10))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y.long()).backward()
        optimizer.step()
    save(network, tmp_path / "digits.pt2", x[:2].clone())
    steps = [{"prune": {"sparsity": "50%"}}, {"finetune": {"epochs": 3}}, {"quantize": {"scheme": "INT8"}}]
    spec = request_for(
        source={"uri": (tmp_path / "digits.pt2").as_uri()},
        compression={"steps": steps},
        guardrail={"dataset": {"uri": customer[1].as_uri()}, "maxDrop": "5pp"},
        allowCode=False,
    )
    result = execute(spec)
    assert result.guardrail.verdict is Verdict.PASSED
    assert result.artifact.bytes < result.artifact.source_bytes / 4


@pytest.fixture
def forged(tmp_path):
    """Save a network and let a function change the archive's members: (name → bytes) → None."""

    def forge(change):
        good, bad = save(Pair(), tmp_path / "good.pt2", torch.zeros(2, 4), torch.zeros(2, 4)), tmp_path / "bad.pt2"
        with zipfile.ZipFile(good) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members)
        with zipfile.ZipFile(bad, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return bad

    return forge


class Payload:
    """Leaves a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def program(change):
    """Change the program's JSON."""

    def changed(members):
        document = json.loads(members["good/models/model.json"])
        change(document)
        members["good/models/model.json"] = json.dumps(document).encode()

    return changed


def calls(target, *arguments):
    """Put a call of an operator with plain arguments at the beginning of the graph."""

    def change(document):
        inputs = [{"name": f"a{i}", "arg": {"as_string": value}, "kind": 1} for i, value in enumerate(arguments)]
        node = {"target": target, "inputs": inputs, "outputs": [{"as_tensor": {"name": "made"}}], "metadata": {}}
        document["graph_module"]["graph"]["nodes"].insert(0, node)

    return program(change)


def pickled_weight(members):
    name = "good/data/weights/model_weights_config.json"
    config = json.loads(members[name])
    config["config"]["layer.bias"]["use_pickle"] = True
    members[name] = json.dumps(config).encode()


def a_weight_that_is_too_short(members):
    members["good/data/weights/weight_0"] = b"\0\0\0\0"


def a_path(document):
    for spec in document["graph_module"]["signature"]["input_specs"]:
        if "parameter" in spec:
            spec["parameter"]["parameter_name"] = "layer'); import os; ('"


def a_name(document):
    graph, signature = document["graph_module"]["graph"], document["graph_module"]["signature"]
    graph["inputs"][-1]["as_tensor"]["name"] = "x): import os"
    signature["input_specs"][-1]["user_input"]["arg"]["as_tensor"]["name"] = "x): import os"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pickled_weight, "keeps layer.bias as a pickle, which could run code"),
        (a_weight_that_is_too_short, "holds 1 numbers of it"),
        (program(a_path), "which is no path of names"),
        (program(a_name), "which is no name"),
        (program(lambda d: d["schema_version"].update(major=99)), "has schema version 99, this version reads 8"),
        (calls("torch.hub.load", "somebody/something", "model"), "uses torch.hub.load, which is no operator"),
        (calls("torch.ops.aten.from_file.default", "/etc/passwd"), "uses torch.ops.aten.from_file.default"),
        (calls("torch.ops.aten.fill_.Scalar"), "uses torch.ops.aten.fill_.Scalar"),
        (calls("_operator.methodcaller", "system"), "uses _operator.methodcaller"),
        (calls("os.system", "touch"), "uses os.system"),
        (lambda m: m.update({"good/data/aotinductor/m/a.so": b""}), "holds compiled code (data/aotinductor/m/a.so)"),
        (lambda m: m.update({"good/data/constants/custom_obj_0": b""}), "holds pickled objects"),
        (lambda m: m.update({"good/../../evil": b""}), "which is no path of an archive"),
        (lambda m: m.pop("good/models/model.json"), "holds 0 programs"),
        (lambda m: m.update({"good/models/model.json": b"{"}), "holds a damaged good/models/model.json"),
        (lambda m: m.update({"good/models/model.json": b"[]"}), "is no archive of torch.export"),
    ],
)
def test_hostile_and_damaged_archives_are_refused(forged, change, message):
    """Each way to run code, leave the archive or read beyond a weight is named, and not gone."""
    with pytest.raises(ArchiveError) as refused:
        rebuild(read_archive(forged(change)))
    assert message in str(refused.value)


@pytest.mark.parametrize("member", ["good/data/sample_inputs/model.pt", "good/models/guards"])
def test_what_torch_would_run_is_not_looked_at(forged, tmp_path, member):
    """Pickled example inputs, guards and expressions lie in the file, and the network is built without them."""
    marker = tmp_path / "ran"

    def change(members):
        members[member] = pickle.dumps(Payload(marker))
        document = json.loads(members["good/models/model.json"])
        document["guards_code"] = [f"__import__('pathlib').Path({str(marker)!r}).touch()"]
        document["range_constraints"] = {f"__import__('pathlib').Path({str(marker)!r}).touch()": {"min_val": 1}}
        members["good/models/model.json"] = json.dumps(document).encode()

    rebuilt = rebuild(read_archive(forged(change)))
    assert rebuilt(torch.ones(3, 4), torch.ones(3, 4)).tolist() == [[0, 0]] * 3
    assert not marker.exists()


def test_a_file_that_is_no_archive(execute, request_for, tmp_path):
    """The source's URI, the file and what is wrong with it are in the message."""
    (tmp_path / "model.pt2").write_bytes(b"no zip at all")
    with pytest.raises(Stalled) as refused:
        execute(request_for(source={"uri": (tmp_path / "model.pt2").as_uri()}, allowCode=False))
    assert refused.value.reason == Reason.SOURCE_INVALID
    assert "model.pt2 is no archive of torch.export" in refused.value.message

"""Sources besides ONNX files and Python code: what loads, and what is refused because it could run code."""

import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from transformers import BertConfig, BertForSequenceClassification, BertModel

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.errors import Stalled
from trimtab.store import open_artifact
from trimtab.workloads.serve.artifact import read_spec

TINY = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
    "num_labels": 3,
}


@pytest.fixture
def texts(tmp_path):
    """Write token ids of random texts of different lengths, padded; labels where they are given."""

    def write(label=None, count=400, train=0):
        draw = np.random.default_rng(0)
        arrays = {}
        for split, number in (("test", count), ("train", train)):
            if not number:
                continue
            ids = draw.integers(1, 60, size=(number, 12))
            mask = (np.arange(12) < draw.integers(4, 13, size=(number, 1))).astype(np.int64)
            arrays |= {f"input_ids_{split}": ids * mask, f"attention_mask_{split}": mask}
            if label is not None:
                arrays[f"y_{split}"] = label(ids * mask, mask)
        np.savez(tmp_path / "texts.npz", **arrays)
        return (tmp_path / "texts.npz").as_uri()

    return write


@pytest.fixture
def a_bert(tmp_path):
    """Save a small network of transformers as a folder, with sentence-transformers' pooling where asked for."""

    def save(kind=BertForSequenceClassification, pooling=None):
        torch.manual_seed(0)
        folder = tmp_path / "bert"
        kind(BertConfig(**TINY, architectures=[kind.__name__])).save_pretrained(folder)
        if pooling:
            modules = [{"type": "a.b.Pooling", "path": "1_Pooling"}, {"type": "a.b.Normalize", "path": "2_Normalize"}]
            (folder / "modules.json").write_text(json.dumps(modules))
            (folder / "1_Pooling").mkdir()
            (folder / "1_Pooling" / "config.json").write_text(
                json.dumps({pooling: True, "word_embedding_dimension": 32})
            )
        return folder

    return save


def test_a_folder_of_transformers(a_bert, texts, execute, request_for, tmp_path):
    """A classifier is exported with free batch and length, quantized and judged, and says what it said."""
    folder = a_bert()
    network = BertForSequenceClassification.from_pretrained(folder).eval()

    def label(ids, mask):
        with torch.inference_mode():
            return network(torch.from_numpy(ids), torch.from_numpy(mask)).logits.argmax(1).numpy()

    spec = request_for(
        source={"uri": folder.as_uri()},
        guardrail={"dataset": {"uri": texts(label)}, "maxDrop": "10pp"},
        allowCode=False,
    )
    result = execute(spec)
    assert float(result.guardrail.baseline) == 1
    open_artifact(result.artifact.uri, result.artifact.digest, tmp_path / "artifact")
    served = read_spec(tmp_path / "artifact")
    forms = {tensor.name: (tensor.shape, tensor.axes, tensor.pad) for tensor in served.inputs}
    assert forms == dict.fromkeys(("input_ids", "attention_mask"), ((-1, -1), (None, "length"), 0))
    assert served.pads


@pytest.mark.parametrize("pooling", ["pooling_mode_mean_tokens", "pooling_mode_cls_token"])
def test_sentence_embeddings(a_bert, texts, execute, request_for, pooling):
    """A sentence encoder is distilled and quantized without any labels, judged by its embeddings."""
    steps = [{"distill": {"epochs": 1}}, {"quantize": {"scheme": "INT8"}}]
    spec = request_for(
        source={"uri": a_bert(BertModel, pooling).as_uri()},
        guardrail={"dataset": {"uri": texts(train=200)}, "metric": "CosineSimilarity", "maxDrop": "20pp"},
        compression={"steps": steps},
        allowCode=False,
    )
    guardrail = execute(spec).guardrail
    assert guardrail.verdict is Verdict.PASSED
    assert float(guardrail.candidate) > 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "names code of its own (auto_map), which is not run"),
        ({"architectures": ["NoSuchModel"]}, "architectures is ['NoSuchModel']; transformers"),
        ({"architectures": ["torch"]}, "has no such model"),
        ({"hidden_size": 33}, "the folder cannot be loaded"),
    ],
)
def test_folders_that_do_not_load(a_bert, texts, execute, request_for, change, message):
    """Code of the folder's own is never run; an unknown architecture and weights that do not fit are named."""
    folder = a_bert()
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    spec = request_for(source={"uri": folder.as_uri()}, guardrail={"dataset": {"uri": texts(lambda i, _: i[:, 0] % 3)}})
    with pytest.raises(Stalled) as refused:
        execute(spec)
    assert refused.value.reason == Reason.SOURCE_INVALID
    assert message in refused.value.message
    assert not (folder / "ran").exists()


class Payload:
    """Leaves a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_pickled_weights_are_never_read(a_bert, texts, execute, request_for, tmp_path):
    """A folder whose only weights are a pickle is refused, whatever the format is said to be."""
    folder = a_bert()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    for format_ in ("Auto", "HuggingFace"):
        spec = request_for(
            source={"uri": folder.as_uri(), "format": format_},
            guardrail={"dataset": {"uri": texts(lambda i, _: i[:, 0] % 3)}},
        )
        with pytest.raises(Stalled, match=r"pickle"):
            execute(spec)
    assert not (tmp_path / "ran").exists()


def table(tmp_path, data, **more):
    x, y = data(return_X_y=True)
    x = x.astype(np.float32)
    np.savez(tmp_path / "table.npz", x_test=x, y_test=y.astype(np.float32 if more.get("numbers") else np.int64))
    return x, y, (tmp_path / "table.npz").as_uri()


def test_a_classifier_of_scikit_learn(execute, request_for, tmp_path):
    """A pipeline saved by skops answers with probabilities, as accurately as the original."""
    x, y, data = table(tmp_path, load_breast_cancer)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    skops.io.dump(model, tmp_path / "model.skops")
    source = {"uri": (tmp_path / "model.skops").as_uri()}
    for metric in ("Accuracy", "AUROC"):
        spec = request_for(source=source, guardrail={"dataset": {"uri": data}, "metric": metric}, allowCode=False)
        guardrail = execute(spec).guardrail
        assert guardrail.verdict is Verdict.PASSED
        if metric == "Accuracy":
            assert float(guardrail.baseline) == pytest.approx(model.score(x, y), abs=1e-4)


def test_a_regressor_of_scikit_learn(execute, request_for, tmp_path):
    """Boosted trees are judged by their error, which stays as it was."""
    x, y, data = table(tmp_path, load_diabetes, numbers=True)
    skops.io.dump(GradientBoostingRegressor(n_estimators=20, random_state=0).fit(x, y), tmp_path / "model.skops")
    guardrail = {"dataset": {"uri": data}, "metric": "RootMeanSquaredError", "maxDrop": "5%"}
    found = execute(request_for(source={"uri": (tmp_path / "model.skops").as_uri()}, guardrail=guardrail)).guardrail
    assert found.verdict is Verdict.PASSED
    assert abs(float(found.drop)) < 1e-4


def test_a_tree_that_claims_more_than_it_holds(execute, request_for, tmp_path):
    """A forged count of nodes does not make anything read beyond the memory that holds them."""
    x, y, data = table(tmp_path, load_diabetes, numbers=True)
    skops.io.dump(DecisionTreeRegressor(max_depth=2).fit(x, y), tmp_path / "good.skops")
    with zipfile.ZipFile(tmp_path / "good.skops") as good, zipfile.ZipFile(tmp_path / "model.skops", "w") as forged:
        for name in good.namelist():
            content = good.read(name)
            if name == "schema.json":
                content, count = re.subn(rb'("node_count": \{[^}]*"content": )"7"', rb'\1"1000000"', content)
                assert count == 1
            forged.writestr(name, content)
    guardrail = {"dataset": {"uri": data}, "metric": "MeanAbsoluteError", "maxDrop": "5%"}
    uris = [(tmp_path / name).as_uri() for name in ("good.skops", "model.skops")]
    good, forged = (execute(request_for(source={"uri": uri}, guardrail=guardrail)).guardrail for uri in uris)
    assert forged == good


def test_skops_files_with_other_types_are_refused(execute, request_for, tmp_path):
    """A file that names a function of the system is not loaded, and nothing of it runs."""
    _, _, data = table(tmp_path, load_breast_cancer)
    schema = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "ReduceNode",
        "content": {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": "touch"},
        "__id__": 1,
        "protocol": 2,
        "_skops_version": "0.16",
    }
    with zipfile.ZipFile(tmp_path / "evil.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    (tmp_path / "text.skops").write_text("hello")
    for name in ("evil.skops", "text.skops"):
        spec = request_for(source={"uri": (tmp_path / name).as_uri()}, guardrail={"dataset": {"uri": data}})
        with pytest.raises(Stalled) as refused:
            execute(spec)
        assert refused.value.reason == Reason.SOURCE_INVALID


def test_an_estimator_of_somebody_elses(execute, request_for, tmp_path):
    """A custom transformer is code: its type is named."""
    _, _, data = table(tmp_path, load_breast_cancer)
    skops.io.dump(make_pipeline(Payload(tmp_path)), tmp_path / "custom.skops")
    spec = request_for(source={"uri": (tmp_path / "custom.skops").as_uri()}, guardrail={"dataset": {"uri": data}})
    with pytest.raises(Stalled, match=r"holds types that could run code \(.*Payload"):
        execute(spec)

"""Real searches on the digits: what is found, what is told, and that a killed one goes on."""

import json

import numpy as np
import pytest
import skops.io
import torch
import yaml
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from stops import StopAt
from transformers import BertConfig, BertModel

from trimtab.api.guardrail import Verdict
from trimtab.api.runs import RunSpec
from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.store import join, open_artifact
from trimtab.workloads.compress.report import REPORT_FOLDER, read_report
from trimtab.workloads.compress.stopping import Interrupted

SPACE = [{"prune": {"sparsity": "50%"}}, {"distill": {"epochs": 3}}]


@pytest.fixture
def search_for(request_for, customer, tmp_path):
    """Build a request that searches SPACE for the smallest model, with a generous guardrail."""

    def build(name="out", max_drop="5pp", **search):
        return request_for(
            compression={"search": {"objective": "Size", "strategy": "Grid", "space": SPACE, "trials": 3} | search},
            guardrail={"dataset": {"uri": customer[1].as_uri()}, "maxDrop": max_drop},
            output=(tmp_path / name).as_uri(),
        )

    return build


@pytest.fixture
def of_a_graph(request_for, a_graph, a_dataset, tmp_path):
    """Build a request that searches our own space for a linear classifier stored as ONNX."""
    weight = a_graph(tmp_path / "source" / "model.onnx", inputs=256, classes=12)

    def build(name="out", samples=600, **search):
        data = a_dataset(tmp_path / f"data-{samples}.npz", weight, samples)
        return request_for(
            source={"uri": (tmp_path / "source").as_uri()},
            compression={"search": {"objective": "Size"} | search},
            guardrail={"dataset": {"uri": data.as_uri()}, "maxDrop": "20pp"},
            output=(tmp_path / name).as_uri(),
        )

    return build


def report_of(result, folder):
    open_artifact(join(result.artifact.uri, REPORT_FOLDER), None, folder)
    return read_report(folder)


def test_a_search_finds_a_recipe_that_passes(search_for, execute, request_for, tmp_path):
    """Smaller, proven, told in full; its steps pasted back make the very same model."""
    lines = []
    result = execute(search_for(), lines.append)
    assert result.guardrail.verdict is Verdict.PASSED
    assert result.artifact.bytes < result.artifact.source_bytes / 3
    report = report_of(result, tmp_path / "report")
    search = report["search"]
    assert search["trials"][0]["recipe"] == []
    assert search["trials"][0]["drop"] == 0
    chosen = search["trials"][search["chosen"]]
    assert chosen["feasible"]
    assert search["chosen"] in search["front"]
    assert result.recipe == report["recipe"] == [next(iter(step)) for step in chosen["recipe"]]
    progress = [json.loads(line) for line in lines]
    assert [line["percent"] for line in progress] == sorted(line["percent"] for line in progress)
    assert any(line["detail"].startswith("trial 3, ") for line in progress)
    pasted = yaml.safe_load((tmp_path / "report" / "recipe.yaml").read_text())
    again = search_for("again").model_dump(by_alias=True, exclude_none=True, mode="json")
    spec = RunSpec.model_validate_json(json.dumps(again | {"compression": {"steps": pasted}}))
    plain = execute(spec)
    files = []
    for name, made in (("searched", result), ("plain", plain)):
        open_artifact(made.artifact.uri, made.artifact.digest, tmp_path / name)
        files.append((tmp_path / name / "model.onnx").read_bytes())
    assert files[0] == files[1]


def test_our_own_space_without_training_data(of_a_graph, execute, tmp_path):
    """A quarter of the guardrail's samples compares recipes, the rest judges: no sample does both."""
    result = execute(of_a_graph())
    assert result.guardrail.verdict is Verdict.PASSED
    assert result.artifact.bytes < result.artifact.source_bytes / 2
    trials = report_of(result, tmp_path / "report")["search"]["trials"]
    assert trials[0]["samples"] == 150
    assert result.guardrail.samples <= 450
    assert "Bonferroni" in result.guardrail.message


def test_a_search_keeps_to_the_engine_that_is_to_serve(of_a_graph, execute, tmp_path):
    """What another engine would run is not tried at all."""
    space = [{"quantize": {"scheme": "INT8WeightOnly"}}, {"compile": {"engine": "OpenVino"}}]
    spec = of_a_graph(strategy="Grid", space=space).model_copy(update={"engine": Engine.ONNX_RUNTIME})
    result = execute(spec)
    recipes = [trial["recipe"] for trial in report_of(result, tmp_path / "report")["search"]["trials"]]
    assert [[next(iter(step)) for step in recipe] for recipe in recipes] == [[], ["quantize"]]


def test_a_stopped_search_ends_with_the_same_recipe(of_a_graph, execute, tmp_path, capsys):
    """Killed in a trial, it goes on with that one; what was measured is not measured again."""
    undisturbed = StopAt()
    whole = report_of(execute(of_a_graph("whole"), stop=undisturbed), tmp_path / "report")["search"]
    capsys.readouterr()
    with pytest.raises(Interrupted):
        execute(of_a_graph("broken"), stop=StopAt(undisturbed.looks // 2))
    before = capsys.readouterr().out.count("trial.finished")
    found = report_of(execute(of_a_graph("broken")), tmp_path / "report-2")["search"]
    after = capsys.readouterr().out.count("trial.finished")
    assert before > 0
    assert before + after == len({json.dumps(trial["recipe"]) for trial in found["trials"]}) == len(whole["trials"])
    assert found["steps"] == whole["steps"]


def test_nothing_better_is_found(of_a_graph, execute, tmp_path):
    """Candidate 0 is delivered, with a verdict of its own, and the report says why the others are none."""
    impossible = {"quantize": {"scheme": "INT8", "keep": ["layer9*"]}}
    result = execute(of_a_graph(space=[impossible], strategy="Random", folds=2))
    report = report_of(result, tmp_path / "report")
    assert result.recipe == []
    assert result.guardrail.verdict is Verdict.PASSED
    assert result.artifact.bytes == result.artifact.source_bytes
    assert [trial["outcome"] for trial in report["search"]["trials"]] == ["Measured", "Failed"]
    assert report["search"]["trials"][0]["samples"] == 150, "both folds"
    assert "Bonferroni" not in result.guardrail.message, "one look needs no correction"
    (warning,) = report["warnings"]
    assert warning.startswith("no recipe was better than the original in this engine within the guardrail")
    assert "closest: none could be measured; quantize INT8: " in warning


def test_a_space_that_a_graph_cannot_do(of_a_graph, execute):
    """Training steps for an ONNX source, and too few samples, are refused by name."""
    with pytest.raises(Stalled, match=r"search.space\[0\].prune: an ONNX source cannot be pruned or trained"):
        execute(of_a_graph(space=[{"prune": {"sparsity": "50%"}}]))
    with pytest.raises(Stalled, match=r"spec\.compression\.search: 10 samples are too few to compare recipes on"):
        execute(of_a_graph(samples=40))


def test_throughput_of_a_transformer(request_for, execute, tmp_path):
    """A folder of transformers, judged by its embeddings: batches are timed, the limit of single requests holds."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=60, max_position_embeddings=16, **sizes)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "bert")
    draw = np.random.default_rng(0)
    arrays = {f"input_ids_{split}": draw.integers(1, 60, size=(120, 8)) for split in ("train", "test")}
    arrays |= {name.replace("input_ids", "attention_mask"): np.ones_like(ids) for name, ids in arrays.items()}
    np.savez(tmp_path / "texts.npz", **arrays)
    promise = {"metric": "CosineSimilarity", "maxDrop": "5pp", "maxLatency": "10s"}
    spec = request_for(
        source={"uri": (tmp_path / "bert").as_uri()},
        guardrail={"dataset": {"uri": (tmp_path / "texts.npz").as_uri()}, **promise},
        compression={
            "search": {
                "objective": "Throughput",
                "strategy": "Random",
                "trials": 1,
                "space": [{"quantize": {"scheme": "INT8Dynamic"}}],
            }
        },
        allowCode=False,
    )
    result = execute(spec)
    assert result.guardrail.verdict is Verdict.PASSED
    assert "limit 10000 ms" in result.guardrail.message
    search = report_of(result, tmp_path / "report")["search"]
    assert [trial["outcome"] for trial in search["trials"]] == ["Measured", "Measured"]
    assert search["compared"] == "30 of 120 training samples"


def test_a_search_for_an_estimator_of_scikit_learn(request_for, execute, tmp_path):
    """Trees have nothing to quantize: every recipe says so, and the original is delivered in the better engine."""
    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    skops.io.dump(RandomForestClassifier(5, max_depth=4, random_state=0).fit(x, y), tmp_path / "model.skops")
    np.savez(tmp_path / "table.npz", x_test=x, y_test=y)
    spec = request_for(
        source={"uri": (tmp_path / "model.skops").as_uri()},
        guardrail={"dataset": {"uri": (tmp_path / "table.npz").as_uri()}, "maxDrop": "5pp"},
        compression={"search": {"objective": "Latency", "trials": 4}},
        allowCode=False,
    )
    result = execute(spec)
    assert result.guardrail.verdict is Verdict.PASSED
    report = report_of(result, tmp_path / "report")
    assert result.recipe in ([], ["compile"])
    assert report["search"]["trials"][0]["drop"] == 0
    assert report["search"]["compared"] == "142 of the guardrail's 569 samples, which do not judge"

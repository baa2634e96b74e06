"""What a student is, and what it follows besides the teacher's answers."""

import json
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from safetensors.torch import save_model
from stops import StopAt
from transformers import BertConfig, BertForSequenceClassification

from trimtab.api.compression import Step
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.recipe import PlacedStep
from trimtab.workloads.compress.sources.huggingface import load_folder
from trimtab.workloads.compress.sources.students import fetch_students, load_students
from trimtab.workloads.compress.stopping import Interrupted

BLOCKS = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.into, self.out = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
    def forward(self, x):
        return x + self.out(torch.relu(self.into(self.norm(x))))

class Net(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.start, self.blocks = nn.Linear(64, width), nn.ModuleList(Block(width) for _ in range(depth))
        self.head = nn.Linear(width, 10)
    def forward(self, x):
        x = self.start(x.flatten(1))
        for block in self.blocks:
            x = block(x)
        return self.head(x)

def build():
    return Net(32, 4)

def small():
    return Net(16, 2)

def wrong():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9))
"""


@pytest.fixture(scope="module")
def deep(customer, tmp_path_factory):
    """A network of four residual blocks that knows the digits: the source's folder."""
    folder = tmp_path_factory.mktemp("deep")
    (folder / "deep_model.py").write_text(BLOCKS)
    with np.load(customer[1]) as arrays:
        x, y = torch.from_numpy(arrays["x_train"]), torch.from_numpy(arrays["y_train"])
    scope = {}
    exec(BLOCKS, scope)
    torch.manual_seed(0)
    network = scope["build"]()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(15):
        for chosen in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[chosen]), y[chosen]).backward()
            optimizer.step()
    save_model(network.eval(), str(folder / "model.safetensors"))
    return folder


@pytest.fixture
def request_of(deep, request_for, tmp_path):
    """Build a request that distills the network of blocks."""

    def build(name="out", source=deep, entrypoint="deep_model:build", **distill):
        return request_for(
            source={"uri": source.as_uri(), "entrypoint": entrypoint},
            compression={"steps": [{"distill": {"epochs": 3, **distill}}]},
            guardrail={"dataset": request_for().guardrail.dataset.wire(), "maxDrop": "8pp"},
            output=(tmp_path / name).as_uri(),
        )

    return build


def facts_of(tmp_path, name="out"):
    (report,) = (tmp_path / name / "digits").glob("*/report/report.json")
    return json.loads(report.read_text())["steps"][0]["facts"]


def test_a_shallower_student_learns(request_of, execute, tmp_path):
    """Half of the blocks are left, and the accuracy is."""
    result = execute(request_of(student={"depth": "50%"}))
    facts = facts_of(tmp_path)
    assert (facts["layersBefore"], facts["layersAfter"]) == (4, 2)
    assert result.guardrail.verdict == "Passed", result.guardrail.message


def test_hints_bring_inner_layers_together(request_of, execute, tmp_path):
    """A narrower student follows three blocks through projections, and has nothing of them left."""
    hints = [{"teacher": "blocks.[0-2]", "student": "blocks.[0-2]"}]
    first = execute(request_of(name="short", student={"width": "50%"}, hints=hints, epochs=1))
    result = execute(request_of(student={"width": "50%"}, hints=hints, epochs=5))
    facts = facts_of(tmp_path)
    assert facts["hints"] == [f"blocks.{i} → blocks.{i}" for i in range(3)]
    assert facts["hintDistance"] < 0.8 * facts_of(tmp_path, "short")["hintDistance"] < 1
    assert result.guardrail.verdict == "Passed", result.guardrail.message
    assert result.artifact.bytes == first.artifact.bytes


def test_hinted_training_resumes_to_the_same_artifact(request_of, execute):
    """Projections are part of the checkpoint."""
    wanted = {"student": {"width": "50%"}, "hints": [{"teacher": "blocks.1", "student": "blocks.1"}], "epochs": 1}
    whole = execute(request_of(name="whole", **wanted))
    with pytest.raises(Interrupted):
        execute(request_of(name="broken", **wanted), stop=StopAt(30))
    assert execute(request_of(name="broken", **wanted)).artifact.digest == whole.artifact.digest


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        (
            "stem",
            "start",
            "hints[0].teacher: stem names no layer; the layers are start, blocks, blocks.0, blocks.0.into",
        ),
        ("start", "blocks.9*", "hints[0].student: blocks.9* names no layer; the layers are start"),
        ("blocks.?", "blocks.0", "hints[0]: blocks.? names 4 layers of the teacher, blocks.0 1 of the student"),
        ("blocks", "blocks", "hints[0]: layer blocks gives no tensor; name one that does"),
    ],
)
def test_hints_that_name_no_pair(request_of, execute, teacher, student, message):
    """The message lists what there is, or counts."""
    with pytest.raises(Stalled) as caught:
        execute(request_of(hints=[{"teacher": teacher, "student": student}]))
    assert caught.value.reason == Reason.INVALID_SPEC
    assert message in caught.value.message


def test_only_widths_may_differ(request_for, execute):
    """Pictures of different sizes cannot be compared."""
    hints = [{"teacher": "0", "student": "7"}]
    with pytest.raises(Stalled) as caught:
        execute(request_for(compression={"steps": [{"distill": {"epochs": 1, "hints": hints}}]}))
    assert "only their widths may differ" in caught.value.message


@pytest.fixture(scope="module")
def pupil(tmp_path_factory):
    """A smaller network of the user's own, which knows nothing yet: its folder."""
    folder = tmp_path_factory.mktemp("pupil")
    code = BLOCKS.replace("class Net", "class Pupil").replace("Net(", "Pupil(")
    (folder / "pupil_model.py").write_text(code)
    scope = {}
    exec(BLOCKS, scope)
    torch.manual_seed(1)
    save_model(scope["small"](), str(folder / "model.safetensors"))
    return folder


def test_a_student_of_the_users_own_learns(request_of, execute, pupil, tmp_path):
    """It is what is published, also by a run that stopped and went on; the teacher's weights are not."""
    wanted = {"student": {"uri": pupil.as_uri(), "entrypoint": "pupil_model:small"}, "epochs": 8}
    with pytest.raises(Interrupted):
        execute(request_of(**wanted), stop=StopAt(60))
    result = execute(request_of(**wanted))
    assert facts_of(tmp_path)["parameters"] < 5000
    assert result.artifact.bytes < 60_000
    assert result.guardrail.candidate is not None


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (
            {"entrypoint": "pupil_model:gone"},
            "pupil_model.py has no gone; correct spec.compression.steps[0].distill.student.entrypoint",
        ),
        (
            {"entrypoint": "pupil_model:wrong"},
            "spec.compression.steps[0].distill.student: model.safetensors does not fit pupil_model:wrong: missing",
        ),
        ({}, "spec.compression.steps[0].distill.student.entrypoint: not set"),
    ],
)
def test_students_that_do_not_load(request_of, execute, pupil, student, message):
    """The fields of the student are named, not those of the source."""
    with pytest.raises(Stalled) as caught:
        execute(request_of(student={"uri": pupil.as_uri()} | student))
    assert message in caught.value.message


def placed(uri, **student):
    step = Step.model_validate({"distill": {"student": {"uri": uri, **student}}})
    return (PlacedStep(step, "spec.compression.steps[0].distill", 0),)


def test_a_students_code_needs_permission_too(pupil, tmp_path):
    """As that of a source, and by its own field; nothing of it has run."""
    with pytest.raises(Stalled) as caught:
        fetch_students(placed(pupil.as_uri(), entrypoint="pupil_model:small"), False, tmp_path)
    assert caught.value.reason == Reason.CODE_NOT_ALLOWED
    assert caught.value.message.startswith(
        f"spec.compression.steps[0].distill.student: {pupil.as_uri()} runs code when"
    )


def a_bert(folder, layers, labels=3):
    """Save a tiny classifier of texts."""
    torch.manual_seed(layers)
    config = BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        num_labels=labels,
        architectures=["BertForSequenceClassification"],
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder.as_uri()


@pytest.mark.parametrize(("labels", "message"), [(3, None), (4, "answers with [4] per sample, the source with [3]")])
def test_a_student_may_be_a_folder_of_transformers(tmp_path, labels, message):
    """Without any permission, since none of its code runs; it has to answer as the teacher does."""
    ids = np.random.default_rng(0).integers(1, 60, size=(4, 6))
    samples = Samples({"input_ids": ids, "attention_mask": np.ones_like(ids)}, None)
    a_bert(tmp_path / "teacher", 2)
    teacher, _ = load_folder(tmp_path / "teacher", "teacher")
    fetched = fetch_students(placed(a_bert(tmp_path / "student", 1, labels)), False, tmp_path / "fetched")
    with ExitStack() as owned:
        if message is None:
            (student,) = load_students(fetched, teacher, samples, owned).values()
            sizes = [sum(p.numel() for p in network.parameters()) for network in (student, teacher)]
            assert sizes[0] < sizes[1]
        else:
            with pytest.raises(Stalled) as caught:
                load_students(fetched, teacher, samples, owned)
            assert message in caught.value.message

"""A run that is stopped anywhere goes on from its checkpoint, to the very same artifact."""

import json
import random

import pytest
from stops import StopAt

from trimtab.api.runs import RunSpec
from trimtab.workloads.compress import checkpoints
from trimtab.workloads.compress.checkpoints import Checkpoints
from trimtab.workloads.compress.stopping import Interrupted

STEPS = [
    {"prune": {"sparsity": "50%"}},
    {"finetune": {"epochs": 2}},
    {"distill": {"epochs": 2, "student": {"width": "70%"}}},
    {"quantize": {"scheme": "INT8"}},
]


@pytest.fixture
def spec_for(request_for, tmp_path):
    """Build a request whose artifact goes to a folder of its own."""

    def build(name):
        return request_for(
            compression={"steps": STEPS},
            output=(tmp_path / name).as_uri(),
            guardrail={"dataset": request_for().guardrail.dataset.wire(), "maxDrop": "50pp"},
        )

    return build


def files_of(folder):
    return {p.name: p.read_bytes() for p in folder.glob("digits/*/*") if p.is_file() and p.parent.name != "report"}


def test_stopped_runs_make_the_same_artifact(execute, spec_for, tmp_path):
    """Stopped at six random places, one after the other, a run ends with the bytes of an undisturbed one."""
    undisturbed = StopAt()
    whole = execute(spec_for("whole"), stop=undisturbed)
    draw, stopped = random.Random(5), 0
    for _ in range(6):
        try:
            execute(spec_for("broken"), stop=StopAt(draw.randrange(1, undisturbed.looks // 4)))
            break
        except Interrupted:
            stopped += 1
    result = execute(spec_for("broken"))
    assert stopped == 6
    assert result.artifact.digest == whole.artifact.digest
    assert files_of(tmp_path / "broken") == files_of(tmp_path / "whole")


def test_work_is_not_done_twice(execute, spec_for, capsys):
    """What was finished before the stop is taken from the checkpoint, which is gone in the end."""
    looks = StopAt()
    execute(spec_for("whole"), stop=looks)
    with pytest.raises(Interrupted):
        execute(spec_for("once"), stop=StopAt(looks.looks - 40))
    capsys.readouterr()
    execute(spec_for("once"))
    done = [line for line in capsys.readouterr().out.splitlines() if "step.finished" in line]
    assert [step for step in ("prune", "finetune", "distill") if any(f"step={step}" in line for line in done)] == []


def test_checkpoints_are_gone_in_the_end(execute, spec_for, tmp_path):
    """Neither the checkpoints of this run nor those of a run that is not wanted any more stay behind."""
    with pytest.raises(Interrupted):
        execute(spec_for("out"), stop=StopAt(30))
    assert list((tmp_path / "out" / "digits").glob("*-checkpoints/training/*/state.json"))
    other = spec_for("out").wire() | {"salt": "another"}
    execute(RunSpec.model_validate_json(json.dumps(other)))
    assert not list((tmp_path / "out" / "digits").glob("*-checkpoints"))


def test_a_damaged_checkpoint_is_not_used(tmp_path):
    """Of two checkpoints the newest whole one counts; a flipped byte makes it none."""
    now = [0.0]
    line = Checkpoints((tmp_path / "line").as_uri(), "output", tmp_path, lambda: now[0])
    assert line.load() is None
    assert not line.due
    now[0] = checkpoints.EVERY_S
    assert line.due
    for number in (1, 2, 3):
        line.save({"number": number}, lambda folder, n=number: (folder / "data").write_text(str(n)))
    assert not line.due
    fresh = Checkpoints((tmp_path / "line").as_uri(), "output", tmp_path, lambda: 0.0)
    assert fresh.load().state == {"number": 3}
    (data,) = [path for path in (tmp_path / "line").glob("*/data") if path.read_text() == "3"]
    data.write_text("4")
    assert fresh.load().state == {"number": 2}
    fresh.save({"number": 4}, lambda folder: (folder / "data").write_text("4"))
    assert fresh.load().state == {"number": 4}

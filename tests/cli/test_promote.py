"""`trimtab promote`: which revision, which steps, and why not."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from trimtab.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["promote", "digits", *arguments])


def rolling(parts: Any, passed: int = 1, steps: int = 3, spec: Any = None, **more: Any) -> dict[str, Any]:
    rollout = {"revision": "digits-b", "steps": steps, "stepsPassed": passed, "weight": 20, "progressedAt": "x"}
    status = {
        "activeRevision": parts.revision("digits-a"),
        "candidateRevision": parts.revision("digits-b"),
        "rollout": rollout,
    }
    return dict(parts.model(spec, **{**status, **more}))


def test_the_candidate_of_this_generation_is_promoted(objects: Any, parts: Any) -> None:
    """By an annotation that speaks of this revision and this generation, and of nothing else."""
    objects.objects = [rolling(parts)]
    done = run()
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        "models/digits: digits-b is promoted, canary steps 2 to 3 of 3 skipped; see `trimtab status digits`\n"
    )
    assert objects.patches == [
        ("OptimizedModel/models/digits", {"metadata": {"annotations": {"trimtab.dev/promote": "digits-b@2"}}})
    ]
    told = json.loads(run("-o", "json").stdout)
    assert told == {
        "namespace": "models",
        "name": "digits",
        "generation": 2,
        "revision": "digits-b",
        "skips": "steps 2 to 3 of 3",
        "done": False,
    }


def test_waiting_ends_when_it_serves(objects: Any, parts: Any) -> None:
    """Or when it never will, with the reason."""
    objects.objects = [rolling(parts)]
    objects.later = [rolling(parts, 3), parts.model(activeRevision=parts.revision("digits-b"))]
    done = run("--wait")
    assert (done.exit_code, done.stdout) == (0, "models/digits: digits-b serves all traffic\n")
    failed = parts.condition("Ready", "False", "ProgressDeadlineExceeded", "came no further")
    objects.later = [parts.model(activeRevision=parts.revision("digits-a"), conditions=[failed])]
    done = run("--wait")
    assert done.exit_code == 1
    assert "revision digits-b is rolled out no more: no rollout is under way: ProgressDeadlineExceeded" in done.stderr


def never(parts: Any, which: str) -> dict[str, Any]:
    match which:
        case "suspended":
            return rolling(parts, spec={"suspend": True})
        case "no canary":
            return rolling(parts, 0, 0)
        case "passed":
            return rolling(parts, 3)
        case "back":
            back = {"revision": "digits-c", "to": "digits-b", "since": "x"}
            return rolling(parts, 0, 0, rollback=back)
        case "failed":
            missed = parts.condition("Ready", "False", "GuardrailFailed", "fell 2.4pp")
            return dict(parts.model(conditions=[missed], activeRevision=parts.revision("digits-a")))
        case "serves":
            return dict(parts.model(activeRevision=parts.revision("digits-a")))
        case _:
            return rolling(parts, observedGeneration=1)


@pytest.mark.parametrize(
    ("which", "why"),
    [
        ("suspended", "NothingToPromote: spec.suspend: true stops rollouts; set it to false first"),
        ("no canary", "revision digits-b has no canary: its replicas take over as they get ready"),
        ("passed", "revision digits-b has passed its canary"),
        ("back", "the model goes back to revision digits-b, which takes no canary"),
        ("failed", "no rollout is under way: GuardrailFailed: fell 2.4pp"),
        ("serves", "no rollout is under way: revision digits-a serves all traffic"),
        ("unread", "the operator has not read generation 2 of digits yet"),
    ],
)
def test_what_cannot_be_promoted(objects: Any, parts: Any, which: str, why: str) -> None:
    """Nothing is written, and the reason is said."""
    objects.objects = [never(parts, which)]
    done = run()
    assert done.exit_code == 1
    assert why in done.stderr
    assert not objects.patches


def test_a_model_that_is_not_there(objects: Any) -> None:
    """As every command says it."""
    done = run()
    assert done.exit_code == 1
    assert "there is no OptimizedModel digits in namespace models" in done.stderr
    assert not objects.patches


def test_waiting_has_an_end(objects: Any, parts: Any) -> None:
    """A limit that is no duration is refused by name."""
    objects.objects = [rolling(parts)]
    done = run("--wait", "--timeout", "soon")
    assert done.exit_code == 2
    assert "Invalid value for '--timeout'" in done.stderr

"""`trimtab rollback`: from which revision to which, and why not."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kubernetes.aio.client.exceptions import ApiException

from trimtab.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["rollback", "digits", *arguments])


def served(parts: Any, *before: str, active: str = "digits-c", **more: Any) -> dict[str, Any]:
    history = [parts.revision(name) for name in before]
    return dict(parts.model(**{"activeRevision": parts.revision(active), "revisions": history, **more}))


def in_canary(parts: Any, **more: Any) -> dict[str, Any]:
    return served(parts, "digits-a", active="digits-b", candidateRevision=parts.revision("digits-c"), **more)


def rolled_back(parts: Any) -> dict[str, Any]:
    back = {"revision": "digits-c", "to": "digits-b", "since": "x"}
    return served(parts, "digits-c", "digits-a", active="digits-b", rollback=back)


@pytest.mark.parametrize(
    ("model", "arguments", "named", "to"),
    [
        pytest.param(in_canary, (), "digits-c", "digits-b", id="a canary ends"),
        pytest.param(in_canary, ("--to", "digits-a"), "digits-c", "digits-a", id="and further back"),
        pytest.param(lambda p: served(p, "digits-b", "digits-a"), (), "digits-c", "digits-b", id="the one before"),
        pytest.param(
            lambda p: served(p, "digits-b", "digits-a"),
            ("--to", "digits-a"),
            "digits-c",
            "digits-a",
            id="the one named",
        ),
        pytest.param(rolled_back, ("--to", "digits-a"), "digits-c", "digits-a", id="back once more"),
    ],
)
def test_the_way_back(objects: Any, parts: Any, model: Any, arguments: tuple[str, ...], named: str, to: str) -> None:
    """The annotation names what is left; where it leads to only where somebody said so."""
    objects.objects = [model(parts)]
    done = run(*arguments, "--reason", "wrong digits", "-o", "json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["revision"], told["to"], told["reason"], told["done"]) == (named, to, "wrong digits", False)
    ((where, patch),) = objects.patches
    assert where == "OptimizedModel/models/digits"
    assert patch["metadata"]["annotations"] == {
        "trimtab.dev/rollback": named,
        "trimtab.dev/rollback-to": arguments[1] if arguments else None,
        "trimtab.dev/rollback-reason": "wrong digits",
        "trimtab.dev/promote": None,
    }
    assert f"models/digits: back from revision {named} to {to}; see `trimtab status digits`" in run(*arguments).stdout


def test_it_can_be_undone(objects: Any, parts: Any) -> None:
    """All that it wrote goes; where nothing is rolled back, that is said."""
    model = rolled_back(parts)
    model["metadata"]["annotations"] = {"trimtab.dev/rollback": "digits-c"}
    objects.objects = [model]
    done = run("--undo")
    assert (done.exit_code, done.stdout) == (
        0,
        "models/digits: revision digits-c may serve again; see `trimtab status digits`\n",
    )
    ((_, patch),) = objects.patches
    assert set(patch["metadata"]["annotations"].values()) == {None}
    assert len(patch["metadata"]["annotations"]) == 3
    objects.objects = [served(parts)]
    done = run("--undo")
    assert done.exit_code == 1
    assert "trimtab.dev/rollback is not set: no revision of digits is rolled back" in done.stderr
    assert run("--undo", "--to", "digits-a").exit_code == 2


def gave_up(parts: Any) -> dict[str, Any]:
    failed = parts.condition("RolledOut", "False", "CanaryFailed", "more of its requests fail")
    return served(parts, "digits-b", conditions=[parts.condition("Ready"), failed])


@pytest.mark.parametrize(
    ("model", "arguments", "why"),
    [
        pytest.param(served, (), "nothing to go back to: no other revision has served", id="nothing before"),
        pytest.param(lambda p: p.model(), (), "nothing serves yet", id="nothing at all"),
        pytest.param(
            in_canary,
            ("--to", "digits-z"),
            "--to: digits-z never served, or is forgotten; name one of: digits-b, digits-a",
            id="unknown",
        ),
        pytest.param(
            rolled_back,
            (),
            "revision digits-c is rolled back to digits-b already; to go further back, name the revision: --to one of "
            "digits-a",
            id="twice",
        ),
        pytest.param(
            gave_up,
            (),
            "the newest revision was rolled back by itself (CanaryFailed: more of its requests fail); to go further "
            "back: --to one of digits-b",
            id="by itself",
        ),
        pytest.param(
            lambda p: served(p, "digits-b") | {"spec": {"source": {}}}, (), "correct the spec first", id="bad spec"
        ),
        pytest.param(lambda p: in_canary(p, observedGeneration=1), (), "has not read generation 2", id="not read"),
    ],
)
def test_there_is_no_way_back(objects: Any, parts: Any, model: Any, arguments: tuple[str, ...], why: str) -> None:
    """Nothing is written; the reason names what there is."""
    objects.objects = [model(parts)]
    done = run(*arguments)
    assert done.exit_code == 1
    assert why in done.stderr
    assert not objects.patches


def test_pools_are_looked_at(objects: Any, parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the operator would; who may not list them learns it from the operator."""
    before = parts.revision("digits-b", template='{"capacity.pools":["gold"],"serving.image":"serve:1"}')
    objects.objects = [served(parts) | {"status": {**served(parts)["status"], "revisions": [before]}}]
    done = run()
    assert done.exit_code == 1
    assert "digits-b ran on pools that are gone (gold: create them again to go back to it)" in done.stderr
    assert not objects.patches
    objects.objects.append({"kind": "CapacityPool", "metadata": {"name": "gold"}})
    assert run().exit_code == 0
    there = objects.list

    async def forbidden(kind: Any, *rest: Any) -> Any:
        if kind.kind == "CapacityPool":
            raise ApiException(status=403, reason="Forbidden")
        return await there(kind, *rest)

    objects.objects.pop()
    monkeypatch.setattr(objects, "list", forbidden)
    assert run().exit_code == 0


def test_suspended_only_a_canary_ends(objects: Any, parts: Any) -> None:
    """spec.suspend stops rollouts, those back as well; traffic that only has to return may."""
    model = served(parts, "digits-b")
    model["spec"] = {**model["spec"], "suspend": True}
    objects.objects = [model]
    assert "spec.suspend: true stops rollouts, also those back" in run().stderr
    model = in_canary(parts)
    model["spec"] = {**model["spec"], "suspend": True}
    objects.objects = [model]
    assert run().exit_code == 0


def test_waiting_ends_with_the_way_back_or_its_failure(objects: Any, parts: Any) -> None:
    """What serves then is what it was sent to; where that cannot start, the message is the operator's."""
    back = {"revision": "digits-c", "to": "digits-b", "since": "x"}
    objects.objects = [served(parts, "digits-b")]
    objects.later = [
        served(parts, "digits-b", candidateRevision=parts.revision("digits-b"), rollback=back),
        served(parts, "digits-c", active="digits-b", rollback=back),
    ]
    assert run("--wait").stdout == "models/digits: back from revision digits-c to digits-b\n"
    lost = parts.condition("RolledOut", "False", "ArtifactCorrupt", "no artifact; revision digits-c keeps serving")
    objects.later = [served(parts, "digits-b", rollback=back, conditions=[lost])]
    done = run("--wait")
    assert done.exit_code == 1
    assert "ArtifactCorrupt: no artifact; revision digits-c keeps serving" in done.stderr

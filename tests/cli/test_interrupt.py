"""`trimtab interrupt`: which node, which taint, and who is asked before."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from trimtab.cli import interrupt as command
from trimtab.cli import main
from trimtab.planning.notices import TAINTS

GROUP = {"local.trimtab.dev/node-group": "spot"}


def node(name: str, labels: Any = None, taints: Any = None) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name, "resourceVersion": "7", "labels": labels or {}},
        "spec": {"taints": taints} if taints else {},
    }


def pod(name: str, on: str | None) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "models"}, "spec": {"nodeName": on} if on else {}}


def run(*arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(main, ["interrupt", *arguments], **more)


@pytest.mark.parametrize("target", ["spot-1", "digits-b-spot-x"])
def test_a_node_of_the_embedded_cluster_goes(objects: Any, target: str) -> None:
    """Nobody is asked: it is there to be tried out. A pod stands for its node; other taints stay."""
    objects.objects = [
        node("spot-1", GROUP, [{"key": "gpu", "effect": "NoSchedule"}]),
        pod("digits-b-spot-x", "spot-1"),
    ]
    done = run(target)
    assert done.stdout == "node spot-1 is interrupted; its node group takes it away after its notice\n", done.output
    ((where, patch),) = objects.patches
    assert where == "Node/-/spot-1"
    assert [taint["key"] for taint in patch["spec"]["taints"]] == ["gpu", "local.trimtab.dev/interruption"]
    assert patch["metadata"]["resourceVersion"] == "7", "taints that came meanwhile must not be lost"


def test_elsewhere_it_gets_what_the_operator_takes_for_a_notice(objects: Any) -> None:
    """With --yes, or after a yes; the message says how to take it back."""
    objects.objects = [node("worker-1")]
    done = run("worker-1", "--yes")
    assert done.stdout == (
        "node worker-1 has its notice; take it back with `kubectl taint node worker-1 trimtab.dev/interrupted-`\n"
    )
    told = json.loads(run("worker-1", "--yes", "-o", "json").stdout)
    assert told == {"node": "worker-1", "taint": "trimtab.dev/interrupted", "changed": True, "goes": False}
    assert told["taint"] in TAINTS


def test_elsewhere_somebody_has_to_say_yes(objects: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal by a key, elsewhere by --yes; without it nothing is written."""
    objects.objects = [node("worker-1")]
    done = run("worker-1")
    assert done.exit_code == 1
    assert "give --yes to put the taint trimtab.dev/interrupted on it" in done.stderr
    monkeypatch.setattr(command, "is_attended", lambda: True)
    asked = run("worker-1", input="n\n")
    assert asked.exit_code == 1
    assert "Put the taint trimtab.dev/interrupted:NoSchedule on node worker-1?" in asked.stderr
    assert not objects.patches
    assert run("worker-1", input="y\n").exit_code == 0
    assert len(objects.patches) == 1


def test_twice_is_once(objects: Any) -> None:
    """A node that has its notice is left alone."""
    objects.objects = [node("spot-1", GROUP, [{"key": "local.trimtab.dev/interruption", "effect": "NoSchedule"}])]
    assert run("spot-1").stdout == "node spot-1 has its notice already (local.trimtab.dev/interruption)\n"
    assert not objects.patches


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("nope", "NODE|POD: nope: neither a node nor a pod in namespace models; nodes there are: worker-1"),
        ("waits", "NODE|POD: pod waits runs on no node yet"),
    ],
)
def test_nothing_to_interrupt(objects: Any, target: str, why: str) -> None:
    """The message says what there is."""
    objects.objects = [node("worker-1"), pod("waits", None)]
    done = run(target, "--yes")
    assert done.exit_code == 1
    assert why in done.stderr

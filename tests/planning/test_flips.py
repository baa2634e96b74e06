"""Whatever is asked of a model, and whenever: nothing unproven serves, and what is asked last comes."""

import random
from dataclasses import replace
from typing import Any

import pytest

from trimtab.api.guardrail import Verdict
from trimtab.planning.model import Memory
from trimtab.planning.runs import run_key
from trimtab.planning.snapshot import JobPhase, RunView

OUTPUT = "file:///artifacts"
CANARY = {"canary": {"steps": [{"weight": "10%", "hold": "5s"}, {"weight": "50%"}]}, "progressDeadline": "1m"}
IN_PLACE = {"maxSurge": 0, "maxUnavailable": 1, "canary": {"steps": [{"weight": "30%"}]}}
WISHES: dict[str, list[dict[str, Any]]] = {
    "rollout": [{"rollout": {}}, {"rollout": CANARY}, {"rollout": IN_PLACE}],
    "replicas": [{"minReplicas": 1}, {"minReplicas": 4, "maxReplicas": 4}],
    "sleep": [{"minReplicas": 0, "scaling": {"idleAfter": "5s"}}, {"minReplicas": 1, "scaling": {}}],
    "image": [{"image": f"serve:{number}"} for number in range(4)],
}


def flip(life: Any, rng: random.Random, make: Any, number: int) -> None:
    """Do something that a user, a run, the traffic or a restart of the operator may do at any moment."""
    deed = rng.choice([*WISHES, "suspend", "rerun", "run", "run", "override", "operator", "gateway", "quality"])
    match deed:
        case "suspend" | "rerun":
            wish = {"suspend": rng.random() < 0.5} if deed == "suspend" else {"rerun": {"reason": str(number)}}
            spec = make.spec(**{**life.world.spec.wire(), **wish})
            life.world = replace(life.world, spec=spec, generation=life.world.generation + 1)
        case "run":
            life.world = replace(life.world, runs=(a_run(life, make, rng.choice([*Verdict, None]), number),))
        case "override":
            name = (life.status.get("candidateRevision") or life.status.get("activeRevision") or {}).get("name", "x")
            life.annotate(**rng.choice([{"promote": name}, {"rollback": name}, {}]))
        case "operator":
            life.memory = Memory()
        case "gateway":
            life.world = replace(life.world, traffic=None)
        case "quality":
            life.errors, life.ms_bucket = rng.choice([(0.6, 20), (0.0, 45), (0.0, 20)])
        case _:
            serving = {**life.world.spec.wire()["serving"], **rng.choice(WISHES[deed])}
            serving["maxReplicas"] = max(2, serving["minReplicas"], serving["maxReplicas"])
            spec = make.spec(**{**life.world.spec.wire(), "serving": serving})
            life.world = replace(life.world, spec=spec, generation=life.world.generation + 1)


def a_run(life: Any, make: Any, verdict: Verdict | None, number: int) -> RunView:
    """Return what became of the run that the spec asks for: a verdict on an artifact of its own, or a failure."""
    key = run_key(life.world.spec, OUTPUT)
    if verdict is None:
        return RunView(f"digits-run-{key}", key, JobPhase.FAILED)
    return RunView(f"digits-run-{key}", key, JobPhase.COMPLETE, result=make.result(verdict, f"sha256:{number:064x}"))


def seen(life: Any, proven: set[str]) -> None:
    """Check what must hold after every look."""
    status = life.status
    for revision in (status.get("activeRevision"), status.get("candidateRevision"), *status.get("revisions", ())):
        if revision and (revision.get("guardrail") or {}).get("verdict") == "Passed":
            proven.add(revision["name"])
    shares = {share["revision"]: share["weight"] for share in status.get("traffic", {}).get("revisions", ())}
    assert sum(shares.values()) in (0, 100)
    assert {name for name, weight in shares.items() if weight} <= proven
    assert not (life.reason("Stalled") and life.reason("Reconciling"))
    if life.reason("Stalled") == "CanaryFailed":
        assert sum(weight > 0 for weight in shares.values()) <= 1


@pytest.mark.parametrize("seed", range(15))
def test_whatever_is_asked_the_last_wish_comes(live: Any, after: Any, make: Any, seed: int) -> None:
    """Flips in every phase, and then an end: one revision serves, with its replicas, and nothing else is left."""
    rng, proven = random.Random(seed), set[str]()
    life = live(replicas=rng.choice([1, 2, 4]))
    for number in range(60):
        if rng.random() < 0.6:
            flip(life, rng, make, number)
        life.look(after, seconds=rng.choice([1, 1, 1, 5, 90]))
        seen(life, proven)
    life.annotate()
    life.errors, life.ms_bucket = 0.0, 20
    serving = {"minReplicas": 2, "maxReplicas": 2, "image": "serve:last", "rollout": CANARY if seed % 2 else {}}
    spec = make.spec(serving=serving, rerun={"reason": "last"})
    life.world = replace(life.world, spec=spec, generation=life.world.generation + 1)
    life.world = replace(life.world, runs=(a_run(life, make, Verdict.PASSED, 999),))
    life.looks(after, 60)
    seen(life, proven)
    assert life.reason() == "Serving"
    assert [(view.revision, view.replicas) for view in life.world.deployments] == [(life.active, 2)]

"""What a person decides beside the spec: canaries that are cut short, in either direction, and ways back."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from trimtab.api.guardrail import Verdict
from trimtab.api.overrides import Overrides
from trimtab.api.status import OptimizedModelStatus, RevisionStatus
from trimtab.errors import Stalled
from trimtab.planning.manifests.serving import revision_hash
from trimtab.planning.manifests.template import spec_for, template_of
from trimtab.planning.overrides import target_of
from trimtab.planning.settings import Settings

SETTINGS = Settings("trimtab/compress:1", "trimtab/serve:1", "trimtab/gateway:1")


@pytest.mark.parametrize(
    ("annotations", "read"),
    [
        (None, Overrides()),
        ({"trimtab.dev/promote": "digits-b"}, Overrides(promote="digits-b")),
        ({"trimtab.dev/promote": "digits-b@7"}, Overrides(promote="digits-b", generation=7)),
        ({"trimtab.dev/promote": "digits-b@x"}, Overrides(promote="digits-b@x")),
        ({"trimtab.dev/promote": ""}, Overrides()),
        (
            {
                "trimtab.dev/rollback": "digits-b",
                "trimtab.dev/rollback-to": "digits-a",
                "trimtab.dev/rollback-reason": " wrong \n digits ",
            },
            Overrides(rollback="digits-b", rollback_to="digits-a", why="wrong digits"),
        ),
        (
            {"trimtab.dev/rollback": "digits-b", "trimtab.dev/rollback-reason": "\x1b[31mred\x07 " + 999 * "x"},
            Overrides(rollback="digits-b", why="[31mred " + 248 * "x"),
        ),
    ],
)
def test_annotations_are_read(annotations: Any, read: Overrides) -> None:
    """What is empty is not there; what makes no sense is kept as a name, to be refused by it."""
    assert Overrides.read(annotations) == read


@pytest.mark.parametrize(
    "changes",
    [
        {"serving": {"image": "mine:2"}},
        {"serving": {"resources": {"requests": {"cpu": "2"}}}},
        {"serving": {"batching": {"maxSize": 3, "maxWait": "5ms"}}},
        {"serving": {"cache": {"entries": 9, "ttl": "1m"}}},
        {"serving": {"loading": "Lazy", "grpc": True}},
        {"serving": {"rollout": {"drainTimeout": "7s"}}},
        {"serving": {"accelerator": {"resource": "nvidia.com/gpu"}}, "compression": {"target": {"device": "GPU"}}},
        {"compression": {"target": {"threads": 3}}},
        {"source": {"uri": "file:///m", "secretRef": {"name": "keys"}}},
        {"capacity": {"pools": ["b", "a"]}},
    ],
    ids=lambda changes: ",".join(changes.get("serving", changes)),
)
def test_a_revision_is_made_again_as_it_was(make: Any, changes: dict[str, Any]) -> None:
    """Whatever makes a revision another one is kept with it: under another spec it has the same hash again."""
    base = {"preset": "Fast", "output": {"uri": "file:///artifacts"}}
    spec = make.spec(**{**changes, "compression": {**base, **changes.get("compression", {})}})
    plain = make.spec()
    artifact = make.result().artifact
    assert revision_hash(artifact, spec, SETTINGS) != revision_hash(artifact, plain, SETTINGS)
    for made_from, today in ((spec, plain), (plain, spec)):
        revision = a_revision("digits-a", make, template=template_of(made_from, SETTINGS))
        again = spec_for(today, revision)
        assert again is not None
        assert revision_hash(artifact, again, SETTINGS) == revision_hash(artifact, made_from, SETTINGS)
        assert again.serving.max_replicas == today.serving.max_replicas


def test_a_template_does_not_outlive_a_change_of_the_operators_image(make: Any) -> None:
    """The image is kept as it was then, although the spec did not name it."""
    revision = a_revision("digits-a", make, template=template_of(make.spec(), SETTINGS))
    again = spec_for(make.spec(), revision)
    assert again is not None
    assert again.serving.image == "trimtab/serve:1"


@pytest.mark.parametrize("template", [None, "no json", "[]", '{"serving.batching":{"maxSize":"many"}}'])
def test_a_template_that_is_no_use(make: Any, template: str | None) -> None:
    """Of an older version, damaged, or at odds with today's spec: nothing is guessed."""
    assert spec_for(make.spec(), a_revision("digits-a", make, template=template)) is None


def a_revision(name: str, make: Any, verdict: Verdict | None = Verdict.PASSED, **more: Any) -> RevisionStatus:
    given = {
        "name": name,
        "run_name": "r",
        "artifact": make.result().artifact,
        "generation": 1,
        "since": "x",
        "guardrail": make.verdict(verdict) if verdict else None,
        "template": template_of(make.spec(), SETTINGS),
    }
    return RevisionStatus(**{**given, **more})


@pytest.mark.parametrize(
    ("history", "to", "found"),
    [
        pytest.param([{}], None, "digits-a0", id="the one before"),
        pytest.param([{"verdict": Verdict.FAILED}, {}], None, "digits-a1", id="the proven one before"),
        pytest.param(
            [{"verdict": Verdict.FAILED, "original": True}], None, "digits-a0", id="an original needs no proof"
        ),
        pytest.param([{}, {}], "digits-a1", "digits-a1", id="the one named"),
        pytest.param([{}], "digits-z", "digits-z never served, or is forgotten; name one of: digits-a0", id="unknown"),
        pytest.param([], None, "no other revision has served; change the spec instead", id="nothing before"),
        pytest.param([{}], "digits-b", "digits-b is the revision to leave", id="itself"),
        pytest.param(
            [{"verdict": None}], "digits-a0", "not proven as spec.guardrail asks (verdict: none)", id="unproven"
        ),
        pytest.param([{"template": None}], None, "digits-a0 cannot be served as it was", id="of an older version"),
    ],
)
def test_where_to_go_back_to(make: Any, history: list[dict[str, Any]], to: str | None, found: str) -> None:
    """The newest that is proven and can be served as it was, or the one named; or why there is none."""
    before = [a_revision(f"digits-a{index}", make, **more) for index, more in enumerate(history)]
    status = OptimizedModelStatus(active_revision=a_revision("digits-b", make), revisions=before)
    assert found in way_back(status, make.spec(), to)


@pytest.mark.parametrize(
    ("guardrail", "said"),
    [
        pytest.param({}, None, id="the same"),
        pytest.param({"maxDrop": "0.7pp"}, None, id="just enough"),
        pytest.param({"maxDrop": "0.6pp"}, "its drop may be 0.70, maxDrop 0.6pp", id="a smaller drop"),
        pytest.param({"maxDrop": "0.7%"}, "its drop may be 0.70, maxDrop 0.7%", id="relative to 98 %"),
        pytest.param({"metric": "F1"}, "metric Accuracy, asked for F1", id="another metric"),
        pytest.param({"confidence": "99%"}, "confidence 95%, asked for 99%", id="surer"),
        pytest.param({"minSamples": 1000}, "900 samples, asked for 1,000", id="more samples"),
        pytest.param({"maxLatency": "1ms"}, "latency 2.500 ms, maxLatency 1ms", id="faster"),
        pytest.param({"maxDrop": "0.1pp", "mode": "Report"}, None, id="nothing is enforced"),
    ],
)
def test_what_was_proven_then_has_to_do_today(make: Any, guardrail: dict[str, Any], said: str | None) -> None:
    """A verdict is of the promise of its time; what serves now serves on, whatever is promised since."""
    spec = make.spec(guardrail={"dataset": {"uri": "file:///data/digits.npz"}, **guardrail})
    before = a_revision("digits-a", make, latency_ms="2.500")
    status = OptimizedModelStatus(active_revision=a_revision("digits-b", make), revisions=[before])
    found = way_back(status, spec)
    assert found == "digits-a" if said is None else f"proven for less than spec.guardrail asks by now ({said})" in found
    assert way_back(OptimizedModelStatus(active_revision=before), spec) == "digits-a"


def way_back(status: OptimizedModelStatus, spec: Any, to: str | None = None) -> str:
    try:
        return target_of(status, spec, "digits-b", to).name
    except Stalled as refused:
        return refused.message


def on_pools(make: Any, *pools: str) -> str:
    return template_of(make.spec(capacity={"pools": list(pools)}), SETTINGS)


def test_pools_that_are_gone_bar_the_way_back(make: Any) -> None:
    """Unless another revision can be served, or what serves already is meant, or nobody knows the pools."""
    gold = a_revision("digits-gold", make, template=on_pools(make, "gold", "iron"))
    plain = a_revision("digits-plain", make)
    status = OptimizedModelStatus(active_revision=a_revision("digits-b", make), revisions=[gold])
    spec = make.spec()
    assert target_of(status, spec, "digits-b", pools={"gold", "iron"}) == gold
    assert target_of(status, spec, "digits-b", pools=None) == gold
    said = "digits-gold ran on pools that are gone (gold: create them again to go back to it)"
    with pytest.raises(Stalled) as refused:
        target_of(status, spec, "digits-b", pools={"iron"})
    assert refused.value.message == f"nothing to go back to: {said}; apply the spec that asked for one of them"
    with pytest.raises(Stalled) as refused:
        target_of(status, spec, "digits-b", "digits-gold", pools={"iron"})
    assert refused.value.message.startswith(f"trimtab.dev/rollback-to: {said}; name another one")
    longer = status.model_copy(update={"revisions": [gold, plain]})
    assert target_of(longer, spec, "digits-b", pools=set()) == plain
    serves = OptimizedModelStatus(active_revision=gold, candidate_revision=plain)
    assert target_of(serves, spec, "digits-plain", pools=set()) == gold


def test_what_nobody_had_to_prove_may_serve_again(make: Any) -> None:
    """Without a guardrail there is no proof to ask for."""
    status = OptimizedModelStatus(
        active_revision=a_revision("digits-b", make), revisions=[a_revision("digits-a", make, verdict=None)]
    )
    disabled = make.spec(guardrail={"mode": "Disabled", "dataset": {"uri": "file:///d"}})
    assert target_of(status, disabled, "digits-b").name == "digits-a"


def test_a_promoted_canary_takes_over_replica_by_replica(live: Any, after: Any) -> None:
    """The rest of its steps is skipped, its share only grows, replicas never fall short; and it is told."""
    life = live(steps=[{"weight": "10%", "hold": "1h"}, {"weight": "50%", "hold": "1h"}])
    life.looks(after, 10)
    new = life.candidate
    assert life.weights[new] == 10
    life.annotate(promote=new, generation=life.world.generation)
    shares = []
    for _ in range(30):
        life.look(after)
        shares.append(life.weights.get(new, 0))
        assert sum(view.replicas for view in life.world.deployments) >= 4
        if life.reason() == "Serving":
            break
    assert life.active == new
    assert shares == sorted(shares)
    assert f"revision {new}: promoted: canary steps 1 to 2 of 2 skipped (trimtab.dev/promote)" in life.told
    assert life.told.count(life.told[-1]) == 1
    life.annotate()
    life.looks(after, 3)
    assert life.active == new


def test_once_promoted_it_needs_its_annotation_no_more(live: Any, after: Any) -> None:
    """What was decided is in the status."""
    life = live()
    life.looks(after, 10)
    new = life.candidate
    life.annotate(promote=new)
    life.look(after)
    life.annotate()
    life.looks(after, 12)
    assert life.active == new


@pytest.mark.parametrize(
    ("override", "told"),
    [
        pytest.param({"promote": "{old}"}, None, id="the one that serves"),
        pytest.param({"promote": "{new}", "generation": 1}, None, id="meant for another generation"),
        pytest.param(
            {"promote": "digits-0"}, "trimtab.dev/promote: no revision digits-0; there are: {new}, {old}", id="typo"
        ),
        pytest.param({"rollback": "{old}"}, None, id="a newer one is on its way"),
        pytest.param(
            {"rollback": "digits-0"}, "trimtab.dev/rollback: no revision digits-0; there are:", id="a typo again"
        ),
        pytest.param({"rollback_to": "{old}"}, "without trimtab.dev/rollback it says nothing", id="half of it"),
        pytest.param(
            {"rollback": "{new}", "rollback_to": "digits-0"},
            "trimtab.dev/rollback: {new}: trimtab.dev/rollback-to: digits-0 never served, or is forgotten; "
            "name one of: {old}",
            id="to nowhere",
        ),
    ],
)
def test_what_is_not_of_now_does_nothing(live: Any, after: Any, override: dict[str, Any], told: str | None) -> None:
    """The canary goes on; what can only be a mistake is told with a remedy, what is of the past is not."""
    life = live()
    life.looks(after, 10)
    names = {"new": life.candidate, "old": life.active}
    before = len(life.told)
    life.annotate(**{key: text.format(**names) if isinstance(text, str) else text for key, text in override.items()})
    life.looks(after, 5)
    assert life.weights == {names["old"]: 90, names["new"]: 10}
    assert "rollback" not in life.status
    new = {text for text in life.told[before:] if "trimtab.dev/" in text}
    assert all(told is not None and told.format(**names) in text for text in new)
    assert bool(new) == (told is not None)


def test_suspended_it_is_not_promoted(live: Any, after: Any) -> None:
    """spec.suspend stops rollouts, and no annotation starts one."""
    life = live()
    life.looks(after, 10)
    new = life.candidate
    life.world = replace(life.world, spec=life.world.spec.model_copy(update={"suspend": True}), generation=3)
    life.annotate(promote=new)
    life.looks(after, 5)
    assert life.reason() == "Suspended"
    assert life.weights[new] == 10


def test_a_running_canary_is_rolled_back(live: Any, after: Any) -> None:
    """All traffic is back in the next look; the status says who, why and how to go on; it lasts."""
    life = live()
    life.looks(after, 10)
    old, new = life.active, life.candidate
    life.annotate(rollback=new, why="wrong digits at the till")
    life.look(after)
    assert life.weights == {old: 100}
    life.looks(after, 5)
    assert life.reason("Stalled") == life.reason() == life.status["summary"]["status"] == "RolledBack"
    assert life.reason("Available") == "Serving"
    message = life.status["summary"]["message"]
    assert f"revision {new} was rolled back by a person (trimtab.dev/rollback: wrong digits at the till)" in message
    assert f"revision {old} serves instead" in message
    assert "trimtab rollback digits --undo" in message
    assert message in life.told
    assert life.status["decisions"][0]["message"].endswith("as a person decided: wrong digits at the till")
    assert [(view.revision, view.replicas) for view in life.world.deployments] == [(old, 4)]
    status = life.look(after)
    assert life.look(after) == status, "staying there writes nothing"


def promoted(live: Any, after: Any) -> tuple[Any, str, str]:
    """Return a model that went from one revision to the next."""
    life = live()
    life.looks(after, 10)
    old, new = life.active, life.candidate
    life.annotate(promote=new)
    life.looks(after, 12)
    life.annotate()
    life.look(after)
    assert (life.active, life.reason()) == (new, "Serving")
    return life, old, new


def test_back_to_the_revision_before(live: Any, after: Any) -> None:
    """With the pods that it had, without a canary, and with as many replicas as before at every moment."""
    life, old, new = promoted(live, after)
    life.annotate(rollback=new)
    status = life.look(after)
    assert life.reason() == "RollingOut"
    assert status["summary"]["message"].startswith(f"back from revision {new}: revision {old}: ")
    for _ in range(15):
        life.look(after)
        assert sum(view.replicas for view in life.world.deployments) >= 4
    assert (life.active, life.weights, life.reason()) == (old, {old: 100}, "RolledBack")
    (container,) = life.made[f"{old}-od"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "serve:1"
    assert [entry["name"] for entry in life.status["revisions"]] == [new]
    rollback = life.status["rollback"]
    assert (rollback["revision"], rollback["to"], rollback["asked"]) == (new, old, new)
    status = life.look(after)
    assert life.look(after) == status


def test_it_stays_back_while_the_spec_asks_for_the_same_revision(live: Any, after: Any) -> None:
    """More replicas are no other revision; another revision ends it, and the annotation is then of the past."""
    life, old, new = promoted(live, after)
    life.annotate(rollback=new)
    life.looks(after, 15)
    life.ask(maxReplicas=5)
    life.looks(after, 3)
    assert (life.active, life.reason()) == (old, "RolledBack")
    life.ask(image="serve:3")
    life.look(after)
    assert life.candidate not in {old, new}
    assert "rollback" not in life.status
    life.annotate(rollback=new, promote=life.candidate)
    life.looks(after, 15)
    assert life.reason() == "Serving"
    assert life.active not in {old, new}


def test_undone_it_is_rolled_out_again(live: Any, after: Any) -> None:
    """Without the annotation the spec counts, canary and all."""
    life, old, new = promoted(live, after)
    life.annotate(rollback=new)
    life.looks(after, 15)
    life.annotate()
    life.looks(after, 10)
    assert "rollback" not in life.status
    assert life.candidate == new
    assert life.weights == {old: 90, new: 10}


def test_after_a_failed_canary_one_can_go_further_back(live: Any, after: Any) -> None:
    """What the spec asks for is not tried again meanwhile: neither on the way nor afterwards."""
    life, old, new = promoted(live, after)
    life.ask(image="serve:3")
    life.errors = 0.5
    life.looks(after, 20)
    assert (life.reason(), life.active) == ("CanaryFailed", new)
    life.annotate(rollback=new)
    life.looks(after, 20)
    assert (life.reason(), life.active) == ("RolledBack", old)
    assert life.status["rollback"]["asked"] not in {old, new}
    life.annotate(rollback=life.status["rollback"]["asked"])
    life.looks(after, 3)
    assert (life.reason(), life.active) == ("RolledBack", old)


def test_a_way_back_that_fails_is_given_up(live: Any, after: Any) -> None:
    """Its pods say what is wrong, the revision of before serves on, and it is not tried again and again."""
    life, old, new = promoted(live, after)
    life.annotate(rollback=new)
    life.look(after)
    lost = [
        replace(pod, ready=False, fatal=True, trouble="no artifact") for pod in life.world.pods if pod.revision == old
    ]
    kept = [pod for pod in life.world.pods if pod.revision == new]
    life.world = replace(life.world, pods=(*kept, *lost), traffic=life.make.traffic(*(pod.revision for pod in kept)))
    life.looks(after, 4)
    assert (life.reason("Stalled"), life.active, life.weights) == ("ArtifactCorrupt", new, {new: 100})
    said = f"no artifact; revision {new} keeps serving; go back to another revision (`trimtab rollback digits --to "
    assert said in life.status["summary"]["message"]
    assert [view.revision for view in life.world.deployments] == [new]


def test_a_model_asleep_goes_back_at_once(live: Any, after: Any) -> None:
    """Nobody waits: there is nothing to lose."""
    life, old, new = promoted(live, after)
    life.ask(minReplicas=0, maxReplicas=4, scaling={"idleAfter": "10s"})
    life.requests = 0
    for _ in range(40):
        life.look(after, seconds=60)
    assert life.world.deployments[0].replicas == 0
    life.annotate(rollback=new)
    life.world = replace(life.world, now=life.world.now + timedelta(seconds=1))
    life.looks(after, 4)
    assert (life.active, life.reason()) == (old, "RolledBack")

"""`trimtab status`, `trimtab explain` and `trimtab completion`: what is, and why, from what the API has."""

from datetime import UTC, datetime

import click
import pytest
from click.testing import CliRunner
from modelparts import VERDICT, a_condition

from trimtab.cli import main
from trimtab.cli.explain import as_text, explained
from trimtab.cli.status import lines, overview, told_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
GUARDRAIL = {**VERDICT, "message": "accuracy fell 1.0pp"}


def a_revision(name, **more):
    artifact = {"uri": "file:///a", "digest": "d", "bytes": 1024, "sourceBytes": 4096}
    return {"name": name, "runName": "r", "artifact": artifact, "generation": 1, "since": "x"} | more


def a_model(generation=2, **status):
    status = {"observedGeneration": 2, "conditions": [a_condition("Ready")]} | status
    meta = {"namespace": "default", "name": "digits", "generation": generation, "uid": "u1"}
    return {"metadata": meta, "status": status}


def test_a_model_in_a_rollout():
    """Each fact has one line; what is not there has none."""
    model = a_model(
        summary={"status": "RollingOut", "message": "2 of 4 replicas"},
        lastRun={"name": "digits-run-k", "key": "k", "phase": "Succeeded", "progressPercent": 100, "finishedAt": "x"},
        guardrail=GUARDRAIL,
        activeRevision=a_revision("digits-a", latencyMs="0.5", sourceLatencyMs="1.0"),
        candidateRevision=a_revision("digits-b", original=True),
        traffic={"revisions": [{"revision": "digits-a", "weight": 75}, {"revision": "digits-b", "weight": 25}]},
        rollout={"revision": "digits-b", "steps": 3, "stepsPassed": 1, "analysis": "12 of 100", "progressedAt": "x"},
        replicas={"desired": 4, "ready": 3, "onDemand": 1, "spot": 2},
        cost={"perHour": "0.30", "allOnDemandPerHour": "0.60", "currency": "USD"},
        url="http://gateway",
    )
    assert lines(model) == [
        ("model", "default/digits"),
        ("status", "RollingOut"),
        ("message", "2 of 4 replicas"),
        ("run", "digits-run-k Succeeded"),
        ("guardrail", "Passed: accuracy fell 1.0pp"),
        ("serves", "digits-a: 4.0 KiB -> 1.0 KiB, 1.0 -> 0.5 ms"),
        ("candidate", "digits-b: 4.0 KiB -> 1.0 KiB, the original"),
        ("traffic", "digits-a 75 %, digits-b 25 %"),
        ("rollout", "canary step 2 of 3: 12 of 100"),
        ("replicas", "3 of 4: 1 on demand, 2 on spot"),
        ("cost", "0.30 USD/h; all on demand 0.60 USD/h"),
        ("url", "http://gateway/v2/models/digits/infer"),
    ]


def test_a_run_under_way_has_its_time_left():
    """Step, progress and estimate, while it is not finished."""
    run = {"name": "r", "key": "k", "phase": "Running", "step": "distill (3/6)", "progressPercent": 40}
    model = a_model(lastRun=run | {"estimatedRemainingSeconds": 90})
    assert ("run", "r Running, distill (3/6) 40 %, about 90 s left") in lines(model)


def test_what_is_not_read_yet():
    """Neither a model without a status nor one with an older generation's passes for the newest."""
    new = {"metadata": {"namespace": "default", "name": "digits", "generation": 1}}
    assert lines(new)[1] == ("status", "not read yet: is the operator running?")
    assert "outdated" in dict(lines(a_model(generation=3)))
    assert as_text(explained(new, []), NOW) == ["default/digits: the operator has not read it yet"]


def test_a_status_of_another_version():
    """The message names the field, and what to install."""
    with pytest.raises(click.ClickException, match=r"status\.replicas\.desired: .* operator is of another version"):
        lines(a_model(replicas={"desired": "many"}))


def test_many_models_are_a_table():
    """As kubectl aligns them; what is not known is a dash."""
    fresh = {"metadata": {"namespace": "ml", "name": "new"}}
    table = overview([a_model(summary={"status": "Serving", "replicas": "3/4", "costPerHour": "0.30 USD"}), fresh])
    assert [line.split() for line in table] == [
        ["NAMESPACE", "NAME", "STATUS", "SIZE", "DROP", "REPLICAS", "SPOT", "COST/H"],
        ["default", "digits", "Serving", "-", "-", "3/4", "-", "0.30", "USD"],
        ["ml", "new", "-", "-", "-", "-", "-", "-"],
    ]


def test_json_is_the_status_itself():
    """Nothing is renamed on the way."""
    model = a_model()
    assert told_of(model) == {"namespace": "default", "name": "digits", "generation": 2, "status": model["status"]}


def test_why_a_model_is_as_it_is():
    """What is amiss first, Stalled before Ready; then decisions and its own events, newest first."""
    model = a_model(
        conditions=[
            a_condition("Available"),
            a_condition("Ready", "False", "GuardrailFailed", "fell 2.4pp"),
            a_condition("Stalled", "True", "GuardrailFailed", "fell 2.4pp; compress less"),
            a_condition("RolledOut", "False", "GuardrailFailed", "fell 2.4pp"),
        ],
        decisions=[{"time": "2026-01-01T23:59:00Z", "kind": "Scaling", "message": "2 -> 4 replicas"}],
    )
    events = [
        {"metadata": {}, "type": "Normal", "reason": reason, "message": "m", "lastTimestamp": time}
        for reason, time in [("Scaled", "2026-01-01T20:00:00Z"), ("SpotInterrupted", "2026-01-01T23:59:30Z")]
    ]
    assert as_text(explained(model, events), NOW) == [
        "default/digits: what is amiss",
        "     60m  Stalled GuardrailFailed: fell 2.4pp; compress less",
        "     60m  Ready, RolledOut GuardrailFailed: fell 2.4pp",
        "",
        "decided, newest first",
        "     60s  Scaling: 2 -> 4 replicas",
        "",
        "happened, newest first",
        "     30s  Normal SpotInterrupted: m",
        "      4h  Normal Scaled: m",
    ]


def test_nothing_is_amiss():
    """One line says so."""
    told = explained(a_model(), [])
    assert set(told) == {"namespace", "name", "read", "amiss", "decisions", "events"}
    assert as_text(told, NOW) == ["default/digits is as it should be"]


@pytest.mark.parametrize("command", [["status"], ["status", "digits"], ["explain", "digits"]])
def test_no_cluster(command, tmp_path):
    """The command says what to set, and no traceback."""
    done = CliRunner().invoke(main, [*command, "--kubeconfig", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "set KUBECONFIG or --kubeconfig" in done.output


def test_a_name_lives_in_one_namespace():
    """Both together say two things."""
    done = CliRunner().invoke(main, ["status", "digits", "-A"])
    assert done.exit_code == 2
    assert "leave out --all-namespaces, or NAME" in done.output


@pytest.mark.parametrize(("shell", "word"), [("bash", "1"), ("zsh", "1"), ("fish", "expl")])
def test_shells_complete(shell, word):
    """The script is printed, and what it asks back knows the commands."""
    script = CliRunner().invoke(main, ["completion", shell])
    assert script.exit_code == 0
    assert "_TRIMTAB_COMPLETE" in script.output
    variables = {"_TRIMTAB_COMPLETE": f"{shell}_complete", "COMP_WORDS": "trimtab expl", "COMP_CWORD": word}
    asked = CliRunner().invoke(main, [], prog_name="trimtab", env=variables)
    assert "explain" in asked.output

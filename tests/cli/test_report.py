"""`trimtab report`: from a model's name to its report on this disk."""

import json

import pytest
from click.testing import CliRunner

from trimtab.api.conditions import Reason
from trimtab.api.runs import RunResult
from trimtab.api.status import ArtifactStatus
from trimtab.cli import main
from trimtab.cli.report import artifact_uri, fetch_report, ran
from trimtab.errors import NotYet, Stalled
from trimtab.store import publish_artifact, write_manifest
from trimtab.workloads.compress.report import as_text

REPORT = {
    "namespace": "default",
    "model": "digits",
    "key": "k",
    "source": {"uri": "file:///source", "digest": "d", "bytes": 100},
    "bytes": 10,
    "steps": [],
    "guardrail": None,
    "latencyMs": "0.5",
    "sourceLatencyMs": "1.0",
    "warnings": [],
    "environment": {"cpu": "c", "threads": 1},
}


class FakeCluster:
    """Holds objects by kind and name, and the pods of every run."""

    def __init__(self, *objects, pods=()):
        self._objects = {(body["kind"], body["metadata"]["name"]): body for body in objects}
        self._pods = list(pods)

    async def get(self, kind, name, namespace=None):
        return self._objects.get((kind.kind, name))

    async def list(self, kind, namespace=None, labels=None):
        return self._pods if labels == "trimtab.dev/run=k1" else []


def a_model(**status):
    return {"kind": "OptimizedModel", "metadata": {"name": "digits"}, "status": status}


def a_run(artifact):
    """A Job that is done, and its pod with the termination message."""
    job = {
        "kind": "Job",
        "metadata": {"name": "digits-run-k1", "labels": {"trimtab.dev/run": "k1"}},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]},
    }
    result = RunResult(artifact=ArtifactStatus(uri=artifact, digest="d", bytes=1, source_bytes=2))
    terminated = {"exitCode": 0, "message": result.model_dump_json(by_alias=True, exclude_none=True)}
    pod = {
        "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"containerStatuses": [{"state": {"terminated": terminated}}]},
    }
    return job, pod


RUN = {"name": "digits-run-k1", "key": "k1", "phase": "Succeeded"}
ACTIVE = {"artifact": {"uri": "file:///active"}}


async def test_the_last_run_comes_first():
    """Its artifact may serve nowhere, because it failed its guardrail: then its report matters most."""
    job, pod = a_run("file:///failed")
    cluster = FakeCluster(a_model(lastRun=RUN, activeRevision=ACTIVE), job, pods=[pod])
    assert await artifact_uri(cluster, "digits", "default") == "file:///failed"


@pytest.mark.parametrize(
    ("status", "uri"),
    [
        ({"activeRevision": ACTIVE, "lastRun": RUN}, "file:///active"),
        (
            {"activeRevision": ACTIVE, "candidateRevision": {"artifact": {"uri": "file:///candidate"}}},
            "file:///candidate",
        ),
    ],
)
async def test_without_a_job_the_revision_tells(status, uri):
    """Jobs are deleted; what rolls out or serves is remembered."""
    assert await artifact_uri(FakeCluster(a_model(**status)), "digits", "default") == uri


@pytest.mark.parametrize(
    ("generation", "kind", "status", "reason", "over"),
    [
        pytest.param(2, "Optimized", "True", "RunSucceeded", True, id="it made an artifact"),
        pytest.param(2, "Optimized", "False", "RunRunning", False, id="it goes on"),
        pytest.param(2, "Optimized", "False", "Suspended", True, id="none will begin"),
        pytest.param(2, "Stalled", "True", "StepFailed", True, id="it failed"),
        pytest.param(1, "Optimized", "True", "RunSucceeded", False, id="of an older generation"),
    ],
)
def test_for_how_long_a_run_is_waited_for(generation, kind, status, reason, over):
    """Until it has ended, however it did, or until it is clear that none begins."""
    told = {"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "x"}
    model = a_model(observedGeneration=generation, conditions=[told])
    assert ran({**model, "metadata": {"name": "digits", "generation": 2}}) is over


async def test_a_model_that_is_not_there():
    """The message names it, and how to find the right name."""
    with pytest.raises(Stalled, match="there is no OptimizedModel digits in namespace other; see `kubectl get"):
        await artifact_uri(FakeCluster(), "digits", "other")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({}, "no run has begun"),
        (
            {"lastRun": RUN | {"phase": "Running", "step": "distill (3/6)", "progressPercent": 40}},
            "run digits-run-k1 is Running, distill \\(3/6\\), 40 % done",
        ),
        ({"lastRun": RUN | {"phase": "Failed", "message": "no such file"}}, "is Failed: no such file"),
    ],
)
async def test_no_artifact_yet(status, message):
    """The message says what the run does."""
    with pytest.raises(NotYet, match=message):
        await artifact_uri(FakeCluster(a_model(**status)), "digits", "default")


@pytest.fixture
def stored(tmp_path):
    """An artifact's URI, with a report below it."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(REPORT))
    (folder / "report.html").write_text("<p>page")
    (folder / "report.png").write_bytes(b"picture")
    write_manifest(folder)
    publish_artifact(folder, (tmp_path / "store" / "report").as_uri())
    return (tmp_path / "store").as_uri()


def test_the_report_is_fetched(stored, tmp_path):
    """All files, and the summary as text; or the picture alone."""
    found = fetch_report(stored, tmp_path / "all")
    assert found == REPORT
    assert "10.0x smaller" in as_text(found)
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"report.json", "report.html", "report.png"}
    fetch_report(stored, tmp_path / "one", only="report.png")
    assert [path.read_bytes() for path in (tmp_path / "one").iterdir()] == [b"picture"]


def test_a_changed_report_is_refused(stored, tmp_path):
    """A byte that is not as the manifest says, and nothing is written."""
    (tmp_path / "store" / "report" / "report.html").write_text("<p>pagE")
    with pytest.raises(Stalled, match=r"report\.html: expected sha256") as caught:
        fetch_report(stored, tmp_path / "all")
    assert caught.value.reason == Reason.ARTIFACT_CORRUPT
    assert not (tmp_path / "all").exists()


def test_a_store_that_only_the_nodes_see(tmp_path):
    """file:// is a path of the nodes: the message says where to run this."""
    uri = (tmp_path / "nowhere").as_uri()
    with pytest.raises(Stalled, match=f"{uri} is a path of the cluster's nodes: run this where that volume is mounted"):
        fetch_report(uri, tmp_path / "all")


def test_no_cluster(tmp_path):
    """Without a kubeconfig the command says what to set."""
    done = CliRunner().invoke(main, ["report", "digits", "--kubeconfig", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "no cluster to ask" in done.output
    assert "set KUBECONFIG or --kubeconfig" in done.output

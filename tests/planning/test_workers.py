"""Several workers: one Indexed Job, whose lost pods cost no retry."""

from typing import Any

import pytest

from trimtab.planning.plan import Apply
from trimtab.planning.runs import run_key
from trimtab.planning.target import target

OUTPUT = "file:///artifacts"


def job_of(a_snapshot: Any, make: Any, **compression: Any) -> Any:
    wanted = {"preset": "Balanced", "output": {"uri": OUTPUT}, **compression}
    found = target(a_snapshot(spec=make.spec(compression=wanted)))
    return next(a.manifest for a in found.actions if isinstance(a, Apply))["spec"]


def test_workers_are_the_pods_of_an_indexed_job(a_snapshot: Any, make: Any) -> None:
    """All at once, each knows its address and its Job; done when worker 0 is; on different nodes if possible."""
    job = job_of(a_snapshot, make, workers=3)
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 3, 3)
    assert job["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    pod = job["template"]["spec"]
    paths = {
        e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in pod["containers"][0]["env"] if "valueFrom" in e
    }
    assert paths == {
        "POD_IP": "status.podIP",
        "TRIMTAB_JOB": "metadata.labels['batch.kubernetes.io/controller-uid']",
    }
    (spread,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    chosen = spread["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert chosen.items() <= job["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(("workers", "actions"), [(1, ["Ignore", "FailJob"]), (2, ["Ignore", "FailJob", "Ignore"])])
def test_what_counts_as_a_failure(a_snapshot: Any, make: Any, workers: int, actions: list[str]) -> None:
    """A lost node does not, nor does ending because another worker did; the retries are for a worker's own failures."""
    job = job_of(a_snapshot, make, workers=workers, job={"retries": 2})
    rules = job["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == actions
    codes = [rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule]
    assert codes == [[65], [76]][:workers]
    assert job["backoffLimit"] == 2


def test_one_worker_is_a_plain_job(a_snapshot: Any, make: Any) -> None:
    """Nothing of it is indexed."""
    job = job_of(a_snapshot, make)
    assert not {"completionMode", "completions", "successPolicy"} & job.keys()
    assert "affinity" not in job["template"]["spec"]


def test_the_number_of_workers_is_part_of_the_key(make: Any) -> None:
    """Sums in another order end in other bits; one worker is what is meant where none is said."""
    keys = [
        run_key(make.spec(compression={"preset": "Balanced", **more}), OUTPUT)
        for more in ({}, {"workers": 1}, {"workers": 2}, {"workers": 3})
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3

"""The volume in which replicas of a node keep artifacts for each other."""

from dataclasses import replace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from trimtab.api.base import CapacityType
from trimtab.api.status import ArtifactStatus, RevisionStatus
from trimtab.cli.operator import operator
from trimtab.planning.manifests.nodecache import checked
from trimtab.planning.manifests.serving import deployment, revision_hash
from trimtab.planning.model import Memory, plan
from trimtab.planning.settings import Settings

NONE = Settings("compress:1", "serve:1", "gateway:1")
CLAIM = replace(NONE, node_cache_volume='{"persistentVolumeClaim": {"claimName": "artifacts-{namespace}"}}')
ARTIFACT = ArtifactStatus(uri="file:///a", digest="sha256:0", bytes=1, source_bytes=1)
REVISION = RevisionStatus(name="digits-1", run_name="r", artifact=ARTIFACT, generation=1, since="now")


def pod(make: Any, settings: Settings, *, prefetch: bool) -> dict[str, Any]:
    spec = make.spec(serving={"prefetch": prefetch})
    made = deployment(make.key, "uid", spec, REVISION, CapacityType.ON_DEMAND, 1, (), settings)
    found: dict[str, Any] = made["spec"]["template"]["spec"]
    return found


def test_it_reaches_the_pods_that_ask_for_it(make: Any) -> None:
    """The platform's volume, with the namespace in its name, where the replica looks for it; else nothing."""
    asked, plain = pod(make, CLAIM, prefetch=True), pod(make, CLAIM, prefetch=False)
    (volume,) = [entry for entry in asked["volumes"] if entry not in plain["volumes"]]
    claim = {"claimName": f"artifacts-{make.key.namespace}"}
    assert volume == {"name": "artifacts", "persistentVolumeClaim": claim}
    (mount,) = [entry for entry in asked["containers"][0]["volumeMounts"] if entry["name"] == "artifacts"]
    assert f"--artifact-cache={mount['mountPath']}" in asked["containers"][0]["args"]
    assert plain == pod(make, NONE, prefetch=False)


def test_another_volume_is_another_revision(make: Any) -> None:
    """Of those that have it: the others' pods stay as they are."""
    asked, plain = make.spec(serving={"prefetch": True}), make.spec()
    other = replace(CLAIM, node_cache_bytes=1)
    assert len({revision_hash(ARTIFACT, asked, settings) for settings in (CLAIM, other)}) == 2
    assert len({revision_hash(ARTIFACT, plain, settings) for settings in (NONE, CLAIM, other)}) == 1


def test_without_a_volume_it_is_refused(make: Any, a_snapshot: Any) -> None:
    """With whom to ask."""
    world = a_snapshot(spec=make.spec(serving={"prefetch": True}))
    found, _ = plan(world, Memory())
    (stalled,) = [entry for entry in found.status["conditions"] if entry["type"] == "Stalled"]
    assert stalled["reason"] == "NotSupported"
    assert "ask the platform team to set TRIMTAB_NODE_CACHE_VOLUME" in stalled["message"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/var/cache", "'/var/cache' is no JSON"),
        ('["hostPath"]', "is no volume; give JSON with one kind of volume"),
        ('{"hostPath": {"path": "/a"}, "csi": {}}', "is no volume"),
        ('{"hostPath": "/a"}', "is no volume"),
        ('{"emptyDir": {}}', "goes with its pod, and no other pod sees it"),
    ],
)
def test_what_is_no_such_volume_is_refused(text: str, said: str) -> None:
    """At the operator's start, before any pod is."""
    with pytest.raises(ValueError, match="claimName") as refused:
        checked(text)
    assert said in str(refused.value)
    result = CliRunner().invoke(operator, [f"--node-cache-volume={text}"])
    assert result.exit_code == click.UsageError.exit_code
    assert "--node-cache-volume" in result.output


@pytest.mark.parametrize(("size", "said"), [("0", "leaves no room"), ("lots", "not a resource quantity")])
def test_a_size_is_a_size(size: str, said: str) -> None:
    """Of at least a byte."""
    result = CliRunner().invoke(operator, [f"--node-cache-size={size}"])
    assert result.exit_code == click.UsageError.exit_code
    assert said in result.output

"""What a replica is told about answering."""

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.status import ArtifactStatus, RevisionStatus
from trimtab.planning.manifests.serving import deployment, revision_hash
from trimtab.planning.settings import Settings

SETTINGS = Settings("compress:1", "serve:1", "gateway:1")
ARTIFACT = ArtifactStatus(uri="file:///a", digest="sha256:0", bytes=1, source_bytes=1)
REVISION = RevisionStatus(name="digits-1", run_name="r", artifact=ARTIFACT, generation=1, since="now")


@pytest.mark.parametrize(
    ("serving", "arguments"),
    [
        ({"loading": "Lazy"}, ["--loading=Lazy"]),
        ({"cache": {"entries": 100}}, ["--cache-entries=100"]),
        ({"cache": {"entries": 100, "ttl": "5m"}}, ["--cache-entries=100", "--cache-ttl=5m"]),
    ],
)
def test_what_is_asked_for_reaches_the_pod_as_a_new_revision(make, serving, arguments):
    """Nothing is told where nothing was asked, and a change of it rolls."""

    def told(spec):
        made = deployment(make.key, "uid", spec, REVISION, CapacityType.ON_DEMAND, 1, (), SETTINGS)
        return made["spec"]["template"]["spec"]["containers"][0]["args"]

    plain, asked = make.spec(), make.spec(serving=serving)
    assert [argument for argument in told(asked) if argument not in told(plain)] == arguments
    assert revision_hash(ARTIFACT, plain, SETTINGS) != revision_hash(ARTIFACT, asked, SETTINGS)

"""What a replica is told about answering."""

import pytest

from trimtab.api.base import CapacityType
from trimtab.api.status import ArtifactStatus, RevisionStatus
from trimtab.planning.manifests.serving import deployment, model_service, revision_hash, revision_service
from trimtab.planning.settings import Settings
from trimtab.planning.support import refusals

SETTINGS = Settings("compress:1", "serve:1", "gateway:1")
ARTIFACT = ArtifactStatus(uri="file:///a", digest="sha256:0", bytes=1, source_bytes=1)
REVISION = RevisionStatus(name="digits-1", run_name="r", artifact=ARTIFACT, generation=1, since="now")


@pytest.mark.parametrize(
    ("serving", "arguments"),
    [
        ({"loading": "Lazy"}, ["--loading=Lazy"]),
        ({"grpc": True}, ["--grpc-port=8001"]),
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


def test_grpc_has_a_port_of_its_own(make):
    """By name in the revision's Service: pods that do not listen there are no endpoints of it."""

    def container(**serving):
        spec = make.spec(serving=serving)
        made = deployment(make.key, "uid", spec, REVISION, CapacityType.ON_DEMAND, 1, (), SETTINGS)
        return made["spec"]["template"]["spec"]["containers"][0]

    assert [port["name"] for port in container()["ports"]] == ["http"]
    assert container(grpc=True)["ports"][1] == {"name": "grpc", "containerPort": 8001}
    for made, target in ((revision_service(make.key, "uid", "r"), "grpc"), (model_service(make.key, "uid"), 8080)):
        (port,) = [port for port in made["spec"]["ports"] if port["name"] == "grpc"]
        assert (port["targetPort"], port["appProtocol"]) == (target, "kubernetes.io/h2c")


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        (
            {"minReplicas": 0, "scaling": {"idleAfter": "1m"}},
            "true with minReplicas 0 is not supported by this version; set minReplicas to 1: calls cannot wake a model",
        ),
        (
            {"loadBalancing": {"sessionAffinity": {"header": "X"}}},
            (
                "true with loadBalancing.sessionAffinity is not supported by this version; "
                "leave out sessionAffinity: calls follow the policy alone"
            ),
        ),
        ({}, None),
    ],
)
def test_what_grpc_does_not_go_with(make, serving, said):
    """Nobody finds out by a call that is refused."""
    found = [str(refusal) for refusal in refusals(make.spec(serving={"grpc": True, **serving}))]
    assert found == ([f"spec.serving.grpc: {said}"] if said else [])

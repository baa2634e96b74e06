"""AWS's refusals in our words, and nothing of what was sent."""

import pytest
from botocore.exceptions import ClientError

from trimtab.effects.pools.aws import Aws, translated
from trimtab.effects.pools.provider import ProviderError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "it is so"}}, "SetDesiredCapacity")


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        (
            "ThrottlingException",
            "ProviderThrottled",
            "autoscaling in eu-west-1 is throttled (SetDesiredCapacity: ThrottlingException); tried again later",
        ),
        (
            "AccessDenied",
            "AccessDenied",
            "autoscaling in eu-west-1 refused SetDesiredCapacity (AccessDenied); allow it in the operator's role, see docs/pools.md",  # noqa: E501
        ),
        ("ResourceNotFoundException", "GroupNotFound", "autoscaling in eu-west-1: it is so; correct name and region"),
        (
            "ResourceInUseException",
            "GroupUnfit",
            "autoscaling in eu-west-1 refused SetDesiredCapacity (ResourceInUseException): it is so",
        ),
    ],
)
def test_refusals_have_a_reason_and_a_remedy(code: str, reason: str, message: str) -> None:
    """Throttling passes, rights are granted, names corrected."""
    found = translated(refusal(code), "autoscaling", "eu-west-1")
    assert (found.reason, found.message) == (reason, message)


async def call(aws: Aws) -> None:
    await aws.call("autoscaling", "us-east-1", lambda asg: asg.describe_auto_scaling_groups())


@pytest.mark.integration
async def test_an_endpoint_that_is_not_there(closed_port: str, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told as such; what was sent is not repeated."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", closed_port)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalr-very-secret")
    with pytest.raises(ProviderError) as caught:
        await call(aws)
    assert caught.value.reason == "ProviderUnreachable"
    assert caught.value.message == (
        "autoscaling in us-east-1 cannot be used (EndpointConnectionError); check network, endpoint and proxy"
    )


@pytest.mark.integration
async def test_no_credentials(endpoint: str, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence, not a traceback."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(ProviderError) as caught:
        await call(aws)
    assert caught.value.reason == "AccessDenied"
    assert "no credentials were found; give the operator's service account a role" in caught.value.message


@pytest.mark.integration
async def test_clients_are_made_once(endpoint: str, aws: Aws) -> None:
    """One per service and region: each holds connections and a rate limiter."""
    seen = [await aws.call("autoscaling", "us-east-1", id) for _ in range(3)]
    assert len(set(seen)) == 1
    assert await aws.call("autoscaling", "eu-west-1", id) != seen[0]

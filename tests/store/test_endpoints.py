"""A store's endpoint comes from a tenant's Secret: it may not lead to the node's own services."""

import pytest

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.store import open_store
from trimtab.store.endpoints import allowed_endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254",
        "http://169.254.170.2/v2",
        "http://2852039166",  # the same as 169.254.169.254, written as one number
        "http://0xa9fea9fe",
        "http://[::ffff:169.254.169.254]:80",
        "http://[fe80::1]",
        "http://[fd00:ec2::254]",
        "http://100.100.100.200",
    ],
)
def test_metadata_services_are_refused(endpoint, monkeypatch):
    """By whatever spelling; before anything is sent."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(Stalled, match="a link-local or metadata address, which no store has; name") as caught:
        open_store("s3://models/digits", "spec.source.uri")
    assert caught.value.reason == Reason.INVALID_SPEC


def test_names_that_lead_there_are_refused():
    """One bad address among good ones is enough: the client would try it."""
    with pytest.raises(Stalled, match=r"metadata\.example is 169\.254\.169\.254"):
        allowed_endpoint("https://metadata.example", lambda host: ["10.0.0.1", "169.254.169.254"])


def test_other_stores_are_asked():
    """Private addresses are where MinIO lives; a name that nobody knows is the client's to tell of."""

    def nobody(host):
        raise OSError("no such name")

    for found in (lambda host: ["10.0.0.1", "fd12::1"], lambda host: ["127.0.0.1"], nobody):
        assert allowed_endpoint("http://minio:9000", found) == "http://minio:9000"


@pytest.mark.parametrize("endpoint", ["minio:9000", "file:///etc", "http://"])
def test_no_url(endpoint):
    """The message says how to write one."""
    with pytest.raises(Stalled, match=r"AWS_ENDPOINT_URL: .* is no URL; write it like https://"):
        allowed_endpoint(endpoint)

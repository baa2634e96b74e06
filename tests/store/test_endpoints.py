"""A store's endpoint comes from a tenant's Secret: it may not lead to the node's own services."""

import contextlib
import http.server
import threading

import pytest

from trimtab.api.conditions import Reason
from trimtab.errors import NotYet, Stalled
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
        "http://168.63.129.16",
        "http://0251.0376.0251.0376",  # octal
        "http://169.254.43518",  # the last two parts as one
        "http://[::169.254.169.254]",
        "http://[64:ff9b::a9fe:a9fe]",  # what a cluster without IPv4 sends on to 169.254.169.254
        "http://[2002:a9fe:a9fe::1]",
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


class Store(http.server.BaseHTTPRequestHandler):
    """Answers everything with where to go instead."""

    elsewhere = ""
    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(307 if self.elsewhere else 200)
        if self.elsewhere:
            self.send_header("Location", self.elsewhere)
            self.send_header("x-amz-bucket-region", "eu-north-1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def answering(elsewhere=""):
    """Run a server; lends its address and the paths that were asked for."""
    handler = type("Handler", (Store,), {"elsewhere": elsewhere, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", handler.asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.integration
def test_a_store_leads_nowhere_else(monkeypatch, tmp_path):
    """A store that is allowed cannot send us on to an address that is not: redirects are not followed."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with answering() as (metadata, stolen), answering(f"{metadata}/latest/meta-data/") as (store, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", store)
        with pytest.raises((Stalled, NotYet)):
            open_store("s3://models/digits", "spec.source.uri").fetch("model.onnx", tmp_path / "model.onnx")
    assert asked
    assert stolen == []

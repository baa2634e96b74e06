import socket

import boto3
import pytest
from botocore.exceptions import ClientError
from imitatedaws import moto_server

from trimtab.api.conditions import Reason
from trimtab.errors import NotYet, Stalled
from trimtab.store import fetch_all, folder_digest, open_artifact, open_store, publish_artifact, write_manifest

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
SECRET = "wJalr-very-secret"


@pytest.fixture(scope="module")
def endpoint():
    with moto_server() as address:
        yield address


@pytest.fixture
def bucket(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="models")
    yield client
    for entry in client.list_objects_v2(Bucket="models").get("Contents", ()):
        client.delete_object(Bucket="models", Key=entry["Key"])
    client.delete_bucket(Bucket="models")


def an_artifact(folder, content=b"weights"):
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    write_manifest(folder, key="k")
    return folder


def test_a_prefix_has_the_digest_of_the_same_folder(bucket, tmp_path):
    """The digest says what the files are, not where they lie."""
    (tmp_path / "local" / "code").mkdir(parents=True)
    for name, content in (("model.onnx", b"weights"), ("code/model.py", b"pass")):
        (tmp_path / "local" / name).write_bytes(content)
        bucket.put_object(Bucket="models", Key=f"digits/v3/{name}", Body=content)
    bucket.put_object(Bucket="models", Key="digits/v3/", Body=b"")  # consoles leave folder markers
    bucket.put_object(Bucket="models", Key="digits/v33/other", Body=b"of another model")
    found = fetch_all(open_store("s3://models/digits/v3"), tmp_path / "copy")
    assert [file.name for file in found] == ["code/model.py", "model.onnx"]
    assert folder_digest(tmp_path / "copy") == folder_digest(tmp_path / "local")


def test_a_single_object(bucket, tmp_path):
    """A URI may name one object."""
    bucket.put_object(Bucket="models", Key="data/digits.npz", Body=b"npz")
    fetch_all(open_store("s3://models/data/digits.npz"), tmp_path)
    assert (tmp_path / "digits.npz").read_bytes() == b"npz"


def test_names_that_climb_are_refused(bucket, tmp_path):
    """An object's key may hold anything; what would leave the folder is refused."""
    bucket.put_object(Bucket="models", Key="digits/x/../../evil", Body=b"x")
    with pytest.raises(Stalled) as caught:
        fetch_all(open_store("s3://models/digits"), tmp_path / "copy")
    assert caught.value.reason == Reason.SOURCE_INVALID
    assert not (tmp_path / "evil").exists()


def test_an_artifact_survives_the_round_trip(bucket, tmp_path):
    """What is published is what is opened; the second publication changes nothing."""
    first = publish_artifact(an_artifact(tmp_path / "a"), "s3://models/out/digits/key")
    assert publish_artifact(an_artifact(tmp_path / "b", b"other"), "s3://models/out/digits/key").digest == first.digest
    assert open_artifact("s3://models/out/digits/key", first.digest, tmp_path / "opened") == first
    assert (tmp_path / "opened" / "model.onnx").read_bytes() == b"weights"


def test_a_broken_off_upload_is_invisible_and_replaced(bucket, tmp_path):
    """Without its manifest, which comes last, nothing counts; leftovers go with the next publication."""
    bucket.put_object(Bucket="models", Key="out/key/model.onnx", Body=b"hal")
    bucket.put_object(Bucket="models", Key="out/key/stale.bin", Body=b"old")
    with pytest.raises(Stalled, match=r"manifest\.json does not exist: its publication never finished"):
        open_artifact("s3://models/out/key", None, tmp_path / "early")
    publish_artifact(an_artifact(tmp_path / "a"), "s3://models/out/key")
    listed = bucket.list_objects_v2(Bucket="models", Prefix="out/key/")["Contents"]
    assert [entry["Key"] for entry in listed] == ["out/key/manifest.json", "out/key/model.onnx"]


def test_a_damaged_artifact_is_refused(bucket, tmp_path):
    """The message names the file, what was expected and what was found."""
    digest = publish_artifact(an_artifact(tmp_path / "a"), "s3://models/out/key").digest
    bucket.put_object(Bucket="models", Key="out/key/model.onnx", Body=b"weighTs")
    with pytest.raises(Stalled, match=r"model\.onnx: expected sha256 [0-9a-f]{64} \(7 bytes\), found") as caught:
        open_artifact("s3://models/out/key", digest, tmp_path / "opened")
    assert caught.value.reason == Reason.ARTIFACT_CORRUPT


@pytest.mark.parametrize("uri", ["s3://models/nothing", "s3://no-such-bucket/x"])
def test_what_is_not_there(bucket, uri):
    """A missing prefix and a missing bucket are the same to a user: correct the URI."""
    with pytest.raises(Stalled, match=f"spec.source.uri: {uri} does not exist") as caught:
        open_store(uri, "spec.source.uri").files()
    assert caught.value.reason == Reason.SOURCE_NOT_FOUND


def test_an_unreachable_store_is_waited_for(monkeypatch):
    """A closed port is NotYet within seconds; the message names the host, never the secret."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(NotYet) as caught:
        open_store("s3://models/digits", "spec.source.uri").files()
    assert caught.value.reason == Reason.STORE_UNREACHABLE
    assert f"http://127.0.0.1:{port} cannot be used" in caught.value.message
    assert SECRET not in caught.value.message


def test_without_credentials(endpoint, monkeypatch, tmp_path):
    """No credentials anywhere: the message says which Secret would help."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(Stalled, match="no credentials were found; name a Secret") as caught:
        open_store("s3://models/digits").files()
    assert caught.value.reason == Reason.ACCESS_DENIED


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "403"])
def test_a_refusal_is_access_denied(bucket, monkeypatch, code):
    """What the store refuses, no retry gets."""
    store = open_store("s3://models/digits", "spec.source.uri")

    def refuse(**_kwargs):
        raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "HeadObject")

    monkeypatch.setattr(store.client, "head_object", refuse)
    with pytest.raises(Stalled, match=f"the store answered {code}; name a Secret") as caught:
        store.files()
    assert caught.value.reason == Reason.ACCESS_DENIED

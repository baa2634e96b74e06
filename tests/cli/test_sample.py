"""`trimtab sample` puts model and data where it is told; the tutorial's test trains the real one."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner
from imitatedaws import moto_server

from trimtab.cli import main
from trimtab.cli.demo import train


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(folder: Path, data: Path, seed: int) -> float:
        for path in (folder / "digits_model.py", folder / "model.safetensors", data):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{path.name} of seed {seed}")
        return 0.98765

    monkeypatch.setattr(train, "write_customer_model", write)


def test_into_a_folder(tmp_path: Path) -> None:
    """What is printed are the URIs for the manifest; a second sample takes the place of the first."""
    for seed in ("1", "2"):
        result = CliRunner().invoke(main, ["sample", tmp_path.as_uri(), "--seed", seed])
        assert (result.exit_code, result.stdout.splitlines()) == (
            0,
            [
                f"{tmp_path.as_uri()}/model: 98.77% of the test scans right",
                f"{tmp_path.as_uri()}/data/digits.npz: scans and labels to train and to judge with",
            ],
        )
    assert (tmp_path / "model" / "model.safetensors").read_text() == "model.safetensors of seed 2"
    assert (tmp_path / "data" / "digits.npz").read_text() == "digits.npz of seed 2"


@pytest.mark.parametrize("uri", ["https://example.com/digits", "digits"])
def test_a_place_that_nothing_can_be_put_is_refused_before_the_training(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what is supported."""
    monkeypatch.setattr(train, "write_customer_model", None)
    result = CliRunner().invoke(main, ["sample", uri])
    assert result.exit_code == 1
    assert "is not supported by this version; use file:// (a volume) or s3://" in result.output


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_into_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made when it is not there; when it is, nothing is wrong with that."""
    with moto_server() as endpoint:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():
            monkeypatch.setenv(name, value)
        for _ in range(2):
            result = CliRunner().invoke(main, ["sample", "s3://models/digits"])
            assert result.exit_code == 0, result.output
        client = boto3.client("s3", region_name="us-east-1")
        keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="models")["Contents"]]
    assert keys == ["digits/data/digits.npz", "digits/model/digits_model.py", "digits/model/model.safetensors"]

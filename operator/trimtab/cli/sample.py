"""`trimtab sample`: a model and its data to try things with, put where a customer would have put them."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import click

from trimtab.cli.printing import echo_json, output_option


@click.command()
@click.argument("uri")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split and of the training.")
@output_option
def sample(uri: str, seed: int, output: str) -> None:
    """Train a small digit recogniser on scikit-learn's scans, and put it and its data below URI.

    URI is a folder, file:///tmp/digits or s3://bucket/digits; a bucket that is not there is made. Afterwards there are
    URI/model, for spec.source.uri, and URI/data/digits.npz, for spec.guardrail.dataset.uri.
    """
    from trimtab.cli.demo.train import write_customer_model
    from trimtab.store import join, open_store

    model, data = join(uri, "model"), join(uri, "data")
    stores = [open_store(model, "URI"), open_store(data, "URI")]
    if urlsplit(uri).scheme == "s3":
        _make_bucket(urlsplit(uri).netloc)
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch, "model"), Path(scratch, "data")]
        accuracy = write_customer_model(folders[0], folders[1] / "digits.npz", seed)
        for store, folder in zip(stores, folders, strict=True):
            store.publish(folder)
    scans = join(data, "digits.npz")
    if output == "json":
        echo_json({"model": model, "data": scans, "accuracy": accuracy})
        return
    click.echo(f"{model}: {accuracy:.2%} of the test scans right")
    click.echo(f"{scans}: scans and labels to train and to judge with")


def _make_bucket(name: str) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    from trimtab.store.s3 import s3_client

    with contextlib.suppress(BotoCoreError, ClientError):  # it is there, or what publishes says why it cannot be
        s3_client().create_bucket(Bucket=name)

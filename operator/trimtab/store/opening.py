"""From a URI to the store that holds it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.store.base import Store
from trimtab.store.files import FileStore

SUPPORTED = "file:// (a volume) or s3://"


def open_store(uri: str, field: str = "uri", missing: str = Reason.SOURCE_NOT_FOUND) -> Store:
    """Return the store at a URI; nothing is read yet.

    `field` begins every error message; `missing` is the reason when nothing is there.

    Raises:
        Stalled: InvalidSpec or NotSupported, naming the field and what to write instead.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return FileStore.at(uri, field, missing)
    if parts.scheme == "s3":
        return _s3(uri, field, missing)
    raise Stalled(
        Reason.NOT_SUPPORTED,
        f"{field}: {parts.scheme or uri}:// is not supported by this version; use {SUPPORTED}",
    )


def join(uri: str, *names: str) -> str:
    """Return the URI of something below a folder."""
    return "/".join([uri.rstrip("/"), *names])


def _s3(uri: str, field: str, missing: str) -> Store:
    from trimtab.store.s3 import S3Store  # noqa: PLC0415 - boto3 only where S3 is used

    parts = urlsplit(uri)
    key = unquote(parts.path).strip("/")
    if not parts.netloc or not key:
        raise Stalled(
            Reason.INVALID_SPEC, f"{field}: {uri} names no bucket and folder; write it like s3://bucket/models/digits"
        )
    return S3Store(uri=uri, bucket=parts.netloc, key=key, field=field, missing=missing)

"""Objects in S3 or anything that speaks it: s3://bucket/models/digits.

Credentials, region and endpoint come from the usual chain (AWS_ACCESS_KEY_ID, a web identity, AWS_ENDPOINT_URL, …).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trimtab.api.conditions import Reason
from trimtab.errors import NotYet, Stalled
from trimtab.store.base import MANIFEST, StoredFile
from trimtab.store.endpoints import allowed_endpoint

CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 30
ATTEMPTS = 3
_MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
_DENIED = {
    "401",
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}


def s3_client() -> Any:
    """Return a client with adaptive retries and short time-outs: a run that waits silently helps nobody."""
    import boto3  # noqa: PLC0415 - costs half a second, and only S3 needs it
    from botocore.config import Config  # noqa: PLC0415

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None
    if endpoint is not None:
        allowed_endpoint(endpoint)
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "adaptive", "total_max_attempts": ATTEMPTS},
        # Own endpoints seldom have a DNS name per bucket, and older ones refuse the newer checksum trailers.
        s3={"addressing_style": "path" if endpoint else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return boto3.session.Session().client("s3", config=config, endpoint_url=endpoint, region_name=region)


@dataclasses.dataclass(frozen=True, slots=True)
class S3Store:
    """An object, or the objects below a prefix."""

    uri: str
    bucket: str
    key: str
    field: str
    missing: str
    client: Any = dataclasses.field(default_factory=s3_client, repr=False)

    def files(self) -> list[StoredFile]:
        with self._translated():
            size = self._object_size()
            if size is not None:
                return [StoredFile(self.key.rpartition("/")[2], size)]
            found = sorted(self._listed())
        visible = [file for file in found if not _hidden(file.name)]
        if not visible:
            raise self._nothing()
        return visible

    def fetch(self, file: str, to: Path) -> None:
        with self._translated():
            key = self.key if self._object_size() is not None else f"{self.key}/{file}"
            self.client.download_file(self.bucket, key, str(to))

    def read(self, file: str) -> bytes | None:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with self._translated():
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=f"{self.key}/{file}")
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
            content: bytes = answer["Body"].read()
            return content

    def publish(self, folder: Path) -> None:
        """Upload every file, the manifest last: readers begin with it, so a half-written folder is invisible."""
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        with self._translated():
            self._delete([MANIFEST])
            self._delete([file.name for file in self._listed() if file.name not in files])
            for name in sorted(files, key=lambda name: (name == MANIFEST, name)):
                self.client.upload_file(str(files[name]), self.bucket, f"{self.key}/{name}")

    def remove(self) -> None:
        """Delete every object below the key, the manifest first."""
        with self._translated():
            self._delete([MANIFEST])
            self._delete([file.name for file in self._listed()])

    def clean(self) -> None:
        """Do nothing: a publication that was killed has no manifest, and the next one replaces its objects."""

    def _listed(self) -> Iterator[StoredFile]:
        prefix = f"{self.key}/"
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):
                    yield StoredFile(entry["Key"].removeprefix(prefix), entry["Size"])

    def _object_size(self) -> int | None:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            return int(self.client.head_object(Bucket=self.bucket, Key=self.key)["ContentLength"])
        except ClientError as error:
            # Without the right to list, S3 answers 403 for an object that is not there.
            if _code(error) in _MISSING:
                return None
            raise

    def _delete(self, names: list[str]) -> None:
        for name in names:
            self.client.delete_object(Bucket=self.bucket, Key=f"{self.key}/{name}")

    def _nothing(self) -> Stalled:
        return Stalled(
            self.missing, f"{self.field}: {self.uri} does not exist; put the files there, or correct bucket and key"
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn botocore's errors into ours. No message repeats what was sent: it may hold credentials."""
        from boto3.exceptions import S3UploadFailedError  # noqa: PLC0415
        from botocore import exceptions  # noqa: PLC0415

        try:
            yield
        except S3UploadFailedError as error:
            if isinstance(error.__context__, exceptions.ClientError):
                raise self._refused(error.__context__) from None
            raise self._unreachable("the upload broke off") from None
        except exceptions.ClientError as error:
            raise self._refused(error) from None
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
            raise self._denied("no credentials were found") from None
        except exceptions.NoAuthTokenError:
            raise self._denied("no token was found") from None
        except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
            raise self._unreachable(type(error).__name__) from None

    def _refused(self, error: Any) -> Stalled | NotYet:
        code = _code(error)
        if code in _MISSING:
            return self._nothing()
        if code in _DENIED or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 403:
            return self._denied(f"the store answered {code}")
        return self._unreachable(f"the store answered {code}")

    def _denied(self, why: str) -> Stalled:
        return Stalled(
            Reason.ACCESS_DENIED,
            f"{self.field}: {self.uri}: {why}; name a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY that may "
            "read and list it in spec.source.secretRef, or give the pod's service account a role",
        )

    def _unreachable(self, why: str) -> NotYet:
        host = self.client.meta.endpoint_url
        return NotYet(
            Reason.STORE_UNREACHABLE,
            f"{self.field}: {self.uri}: {host} cannot be used ({why}, {ATTEMPTS} attempts of {CONNECT_TIMEOUT_S} s to "
            "connect); check AWS_ENDPOINT_URL and the network policy",
        )


def _hidden(name: str) -> bool:
    """Tell .git/config; a name that climbs with `..` is not hidden but refused later."""
    return any(part.startswith(".") and part not in {".", ".."} for part in name.split("/"))


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))

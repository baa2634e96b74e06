"""Model sources, data sets and artifacts by URI. Blocking code: the operator calls it in threads.

A serving pod reads its artifact through this package, so it imports the standard library only, and boto3 late.
"""

from trimtab.store.artifacts import (
    ARTIFACT_SCHEMA,
    Manifest,
    complete_artifact,
    open_artifact,
    publish_artifact,
    write_manifest,
)
from trimtab.store.base import Store, StoredFile, fetch_all
from trimtab.store.digests import bytes_digest, file_sha256, folder_digest
from trimtab.store.nodecache import NodeCache
from trimtab.store.opening import join, open_store

__all__ = [
    "ARTIFACT_SCHEMA",
    "Manifest",
    "NodeCache",
    "Store",
    "StoredFile",
    "bytes_digest",
    "complete_artifact",
    "fetch_all",
    "file_sha256",
    "folder_digest",
    "join",
    "open_artifact",
    "open_store",
    "publish_artifact",
    "write_manifest",
]

"""What the past of large objects may take up: the history and slow watchers are bounded by bytes too."""

import pytest

from trimtab.local import store, watching
from trimtab.local.statuses import ApiError

LARGE = "x" * 1_000_000


def write(registry, count):
    body = {"metadata": {"name": "large"}, "data": {"a": LARGE}}
    found = registry.find("configmaps", "default", "large") or registry.create("configmaps", body, "default")
    for _ in range(count):
        version = found["metadata"]["resourceVersion"]
        found = registry.update("configmaps", {**found, "data": {"a": LARGE, "n": version}})
    return found["metadata"]["resourceVersion"]


def test_the_history_of_large_objects_is_shorter(registry, monkeypatch):
    """A version is remembered until its bytes are too many, then watches from it are told to list again."""
    monkeypatch.setattr(store, "HISTORY_BYTES", 10_000_000)
    version = write(registry, 1)
    write(registry, 5)
    registry.watch("configmaps", "default", resource_version=version).close()
    write(registry, 20)
    with pytest.raises(ApiError) as refused:
        registry.watch("configmaps", "default", resource_version=version)
    assert refused.value.status == 410


async def test_a_watcher_that_does_not_read_is_let_go(registry, monkeypatch):
    """One that reads is not, however much passes through it."""
    monkeypatch.setattr(watching, "BACKLOG_BYTES", 5_000_000)
    slow, quick = (registry.watch("configmaps", "default") for _ in range(2))
    for _ in range(10):
        write(registry, 1)
        while quick.ready() is not None:
            pass
    assert slow.closed
    assert not quick.closed
    with pytest.raises(StopAsyncIteration):
        await anext(slow)

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

import pytest

from trimtab.local.cluster import ClusterConfig, EmbeddedCluster
from trimtab.local.statuses import ApiError

IMAGES = {"python*": [sys.executable, "-u"], "busybox*": []}


class Embedded:
    """An embedded cluster with the few verbs that tests need."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.registry = cluster.registry

    def create(self, resource, obj, namespace="default"):
        return self.registry.create(resource, obj, namespace)

    def get(self, resource, name, namespace="default"):
        try:
            return self.registry.get(resource, name, namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, resource, selector=None):
        return self.registry.list(resource, label_selector=selector)[0]

    def run_pod(self, name, command, *, spec=None, container=None, image="busybox"):
        """A pod with one container that runs a shell script."""
        main = {"name": "main", "image": image, "command": ["sh", "-c", command], **(container or {})}
        body = {"restartPolicy": "Never", "containers": [main], **(spec or {})}
        return self.create("pods", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body})

    async def until(self, what, seconds=60.0):
        """Wait for a truth about the registry; every write wakes the question."""
        end = asyncio.get_running_loop().time() + seconds
        while not (found := what()):
            assert asyncio.get_running_loop().time() < end, "did not come true in time"
            await asyncio.sleep(0.02)
        return found

    async def pod(self, name, phase):
        """The pod, once it is in that phase."""

        def reached():
            pod = self.get("pods", name)
            return pod if pod is not None and pod["status"].get("phase") == phase else None

        return await self.until(reached)

    async def log(self, name, **question):
        return b"".join([piece async for piece in self.registry.pod_logs("default", name, **question)]).decode()


@pytest.fixture
async def embedded():
    """A running cluster; its folder has a short name, as socket paths are limited."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tt")))
        config = ClusterConfig(directory=folder, images=IMAGES, back_off_scale=0.02, stop_grace_s=0.5)
        async with EmbeddedCluster(config) as cluster:
            yield Embedded(cluster)

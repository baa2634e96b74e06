"""The cluster under test as fixtures, and the marker by which a test says what it needs of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters.controlplane import ControlPlane
from clusters.undertest import LACKING, ClusterUnderTest, cluster_for

from trimtab.api.crds import crds
from trimtab.api.names import short_hash
from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster


def pytest_configure(config: pytest.Config) -> None:
    needs = ", ".join(sorted(LACKING))
    config.addinivalue_line("markers", f"needs(what, ...): what of the cluster under test, of: {needs}, kubectl")


@pytest.fixture(autouse=True)
def what_a_test_needs(request: pytest.FixtureRequest) -> None:
    """Skip a test that the cluster under test cannot carry, and say why."""
    needs = [need for marker in request.node.iter_markers("needs") for need in marker.args]
    if unknown := set(needs) - {*LACKING, "kubectl"}:
        pytest.fail(f"needs({', '.join(sorted(unknown))}): there are only {', '.join(sorted(LACKING))}, kubectl")
    if "kubectl" in needs:
        request.getfixturevalue("kubectl_path")
    needs = [need for need in needs if need in LACKING]
    if needs:
        cluster: ClusterUnderTest = request.getfixturevalue("cluster_under_test")
        if reason := cluster.lacks(needs):
            pytest.skip(reason)


@pytest.fixture(scope="session")
def kubectl_path() -> str:
    """The program's path; what uses it is skipped where there is none."""
    found = shutil.which("kubectl")
    return found or pytest.skip("kubectl is not on PATH")


@pytest.fixture(scope="session")
def cluster_under_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterUnderTest]:
    """One cluster for all tests of a run; each works in namespaces of its own."""
    with cluster_for(os.environ, tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kubeconfig(cluster_under_test: ClusterUnderTest) -> Path:
    """Where the cluster under test is."""
    return cluster_under_test.kubeconfig


@pytest.fixture(scope="session")
def bare_api_server(cluster_under_test: ClusterUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of a real API server on which nothing acts; skips where there is none."""
    if "no-controllers" in cluster_under_test.offers:
        yield cluster_under_test.kubeconfig
    elif cluster_under_test.assets is None:
        pytest.skip(f"{cluster_under_test.name}: {LACKING['no-controllers']}")
    else:
        folder = tmp_path_factory.mktemp("bare")
        with ControlPlane(cluster_under_test.assets, folder, controllers=False) as plane:
            yield plane.kubeconfig


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[Cluster]:
    """The operator's client, as administrator of the cluster under test."""
    async with await Cluster.connect(str(kubeconfig)) as connected:
        yield connected


@pytest.fixture
async def cluster(client: Cluster) -> Cluster:
    """The same client, of a cluster that serves our kinds."""
    for crd in crds().values():
        await client.apply(crd)
    for kind in (kinds.MODELS, kinds.POOLS):
        await _heard(client, kind, None, lambda change, _: change == "SYNCED")  # served some time after it was defined
    return client


async def _heard(client: Cluster, kind: kinds.Kind, namespace: str | None, fits: Callable[[str, Any], bool]) -> None:
    """Return once a watch tells what fits."""
    async with asyncio.timeout(30), contextlib.aclosing(client.watch(kind, namespace)) as changes:
        async for change, item in changes:
            if fits(change, item):
                return


@pytest.fixture
async def namespace(
    client: Cluster, cluster_under_test: ClusterUnderTest, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """A fresh namespace that goes with the test."""
    name = f"test-{short_hash(request.node.nodeid)}-{os.getpid()}"
    await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    if "controllers" in cluster_under_test.offers:  # pods are refused before their service account is there
        await _heard(
            client, kinds.SERVICE_ACCOUNTS, name, lambda _, found: found and found["metadata"]["name"] == "default"
        )
    yield name
    await client.delete(kinds.NAMESPACES, name)

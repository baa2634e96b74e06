"""Which cluster a run gets, what that cluster offers, and what a test that needs more is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clusters.assets import Assets
from clusters.undertest import ClusterUnderTest, cluster_for, given_cluster, is_given, is_ready, offered, offered_by

EXECUTABLE = Path(sys.executable)
READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
TESTS = """
import pytest

@pytest.mark.needs("nodes")
def test_one():
    pass

@pytest.mark.needs("wings")
def test_two():
    pass

def test_three():
    pass
"""


@pytest.mark.parametrize(
    ("assets", "offers"),
    [
        (Assets(EXECUTABLE, EXECUTABLE, None, None), {"no-controllers", "no-nodes"}),
        (Assets(EXECUTABLE, EXECUTABLE, EXECUTABLE, None), {"controllers", "no-nodes"}),
        (Assets(EXECUTABLE, EXECUTABLE, EXECUTABLE, EXECUTABLE), {"controllers", "scheduler", "no-nodes"}),
    ],
)
def test_a_control_plane_offers_what_its_programs_do(assets: Assets, offers: set[str]) -> None:
    """Never nodes: nobody runs pods."""
    assert offered_by(assets) == offers


def test_the_embedded_cluster_offers_everything() -> None:
    """But the absence of things."""
    offers = offered(controllers=True, scheduler=True, ready_nodes=1, embedded=True)
    assert offers == {"controllers", "scheduler", "nodes", "this-machine"}


@pytest.mark.parametrize(
    ("node", "ready"),
    [
        (READY, True),
        ({**READY, "spec": {"unschedulable": True}}, False),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, False),
        ({}, False),
    ],
)
def test_nodes_count_that_take_pods(node: dict[str, object], ready: bool) -> None:
    """Ready, and not cordoned."""
    assert is_ready(node) is ready


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """The cluster as its user named it, and everything that it lacks."""
    cluster = ClusterUnderTest("KUBEBUILDER_ASSETS=/a", tmp_path, frozenset({"controllers"}))
    assert cluster.lacks(["controllers"]) is None
    assert cluster.lacks(["controllers", "nodes"]) == "KUBEBUILDER_ASSETS=/a: it has no Ready node to run pods on"
    assert "; its pods do not see" in str(cluster.lacks(["nodes", "this-machine"]))


@pytest.mark.parametrize(
    ("environment", "given"),
    [({}, False), ({"KUBECONFIG": ""}, False), ({"KUBECONFIG": "/k"}, True), ({"KUBEBUILDER_ASSETS": "/a"}, True)],
)
def test_a_cluster_is_given_by_a_variable_that_says_something(environment: dict[str, str], given: bool) -> None:
    """An empty variable is none."""
    assert is_given(environment) is given


def test_a_kubeconfig_that_is_no_file_is_named(tmp_path: Path) -> None:
    """Lists of files, which kubectl takes, included."""
    two = f"{tmp_path}/a:{tmp_path}/b"
    with pytest.raises(ValueError, match=f"KUBECONFIG={two}: no such file; name one file, not a list"):
        given_cluster(two)


def test_a_kubeconfig_goes_before_assets(tmp_path: Path) -> None:
    """Whoever names a cluster means it."""
    environment = {"KUBECONFIG": str(tmp_path / "none"), "KUBEBUILDER_ASSETS": str(tmp_path)}
    with pytest.raises(ValueError, match="KUBECONFIG="), cluster_for(environment, tmp_path):
        pass


@pytest.mark.integration
def test_tests_are_skipped_with_the_reason_and_typing_errors_fail(tmp_path: Path) -> None:
    """On a control plane of stand-ins, as a run of its own."""
    roots = Path(__file__).parents[2]
    (tmp_path / "conftest.py").write_text("pytest_plugins = ['clusters.fixtures', 'given']\n")
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "given.py").write_text(
        "import pytest\nfrom clusters.undertest import ClusterUnderTest\n\n"
        "@pytest.fixture(scope='session')\ndef cluster_under_test(tmp_path_factory):\n"
        "    return ClusterUnderTest('here', tmp_path_factory.mktemp('k'))\n"
    )
    path = os.pathsep.join(map(str, (tmp_path, roots / "operator", roots / "tests" / "plugins")))
    command = [sys.executable, "-m", "pytest", "-ra", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "."]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert "1 passed, 1 skipped, 1 error" in done.stdout, done.stdout + done.stderr
    assert "here: it has no Ready node to run pods on" in done.stdout
    assert "needs(wings): there are only" in done.stdout

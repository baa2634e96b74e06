"""What models cost the API server until they are Ready; nodes and Jobs are played, as in the benchmark of thousands."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench" / "operator"))
from processes import Cluster, Operator, cluster
from scale import writes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]

MODELS = 4
PATIENCE_S = 240
# How often each model is written of: what begins, runs, passed, has its replica, is known to the gateway, serves.
STATUSES = 6
# Each model of a small namespace is one more owner of its gateway.
GATEWAYS = 1 + MODELS


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, namespaces=1) as made:
        yield made


def test_until_it_is_ready_everything_is_written_once(played: Cluster) -> None:
    """However often a model is looked at: a Job, two Services, a Deployment, and its status when that has changed."""
    operator = Operator(played.folder)
    try:
        operator.until_up()
        played.ask("create", first=0, last=MODELS, rate=100)
        end = time.monotonic() + PATIENCE_S
        while played.ask("state")["ready"] < MODELS:
            assert operator.process.poll() is None, "the operator ended"
            assert time.monotonic() < end, f"the models were not Ready within {PATIENCE_S} s"
            time.sleep(0.1)
        made = writes(played.ask("requests")["by_kind"])
    finally:
        operator.stop()
    assert MODELS <= made["PATCH jobs"] <= MODELS, made
    assert 2 * MODELS <= made["PATCH services"] <= 2 * MODELS, made
    assert made["PATCH deployments"] <= MODELS + GATEWAYS, made
    assert made["PATCH optimizedmodels/status"] <= STATUSES * MODELS, made

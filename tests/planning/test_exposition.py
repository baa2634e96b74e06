"""What Prometheus reads: the statuses' numbers, brought up to now."""

from datetime import datetime

from trimtab.planning.exposition import exposition

NOW = datetime.fromisoformat("2026-03-01T13:00:00+00:00")
COST = {
    "perHour": "0.2500",
    "allOnDemandPerHour": "0.4000",
    "currency": "USD",
    "spent": "1.5",
    "allOnDemandSpent": "2",
    "since": "2026-03-01T00:00:00Z",
    "measuredAt": "2026-03-01T12:00:00Z",
    "pools": [{"pool": "spot", "replicas": 2, "perHour": "0.2500", "spent": "1.5"}],
}
MODEL = {
    "metadata": {"namespace": "default", "name": "digits"},
    "status": {
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "X",
                "message": "",
                "lastTransitionTime": "2026-03-01T00:00:00Z",
            }
        ],
        "replicas": {"desired": 3, "ready": 2, "onDemand": 1, "spot": 1},
        "cost": COST,
    },
}
POOL = {
    "metadata": {"name": "spot"},
    "status": {"desired": 3, "ready": 2, "doomed": 1, "interruptions": 7, "cost": COST},
}


def test_every_number_with_its_labels() -> None:
    """Sums grow by their rate until the scrape; counters are named as such."""
    lines = exposition([MODEL], [POOL], NOW).splitlines()
    assert 'trimtab_model_condition{namespace="default",model="digits",condition="Ready"} 0' in lines
    assert 'trimtab_model_replicas{namespace="default",model="digits",capacity_type="desired"} 3' in lines
    assert 'trimtab_cost_total{namespace="default",model="digits",pool="spot",currency="USD"} 1.75' in lines
    assert 'trimtab_cost_all_on_demand_total{namespace="default",model="digits",currency="USD"} 2.4' in lines
    assert 'trimtab_pool_nodes{pool="spot",state="doomed"} 1' in lines
    assert 'trimtab_pool_interruptions_total{pool="spot"} 7' in lines
    assert 'trimtab_pool_cost_total{pool="spot",currency="USD"} 1.75' in lines
    assert "# TYPE trimtab_cost_total counter" in lines


def test_what_cannot_be_read_says_nothing() -> None:
    """A status from another version neither breaks the scrape nor invents numbers."""
    broken = {"metadata": {"namespace": "default", "name": "x"}, "status": {"replicas": "many"}}
    text = exposition([broken, {**MODEL, "status": {}}], [{**broken, "status": {"desired": "x"}}], NOW)
    assert [line for line in text.splitlines() if not line.startswith("#")] == []

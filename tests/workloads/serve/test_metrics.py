"""Numbers for Prometheus."""

from __future__ import annotations

from trimtab.workloads.serve.metrics import Metrics, render


def test_a_histogram_counts_up_to_and_including_its_bounds():
    """Buckets are cumulative, and the last one holds everything."""
    metrics = Metrics("m", "r")
    for rows in (1, 2, 3, 1000):
        metrics.batch_started(1, rows)
    lines = render([metrics]).decode().splitlines()
    counts = [line.rsplit(" ", 1) for line in lines if line.startswith("trimtab_serve_batch_rows")]
    by_bound = {name.partition('le="')[2].rstrip('"}') or name.partition("{")[0]: value for name, value in counts}
    assert by_bound["1"] == "1"
    assert by_bound["2"] == "2"
    assert by_bound["4"] == "3"
    assert by_bound["256"] == "3"
    assert by_bound["+Inf"] == "4"
    assert by_bound["trimtab_serve_batch_rows_sum"] == "1006.0"
    assert by_bound["trimtab_serve_batch_rows_count"] == "4"


def test_requests_are_counted_by_code():
    """Errors can be told from answers."""
    metrics = Metrics("m", "r")
    for status in (200, 200, 503):
        metrics.answered(status, 0.01)
    metrics.queue_depth = 7
    text = render([metrics]).decode()
    assert 'trimtab_serve_requests_total{model="m",revision="r",code="200"} 2\n' in text
    assert 'trimtab_serve_requests_total{model="m",revision="r",code="503"} 1\n' in text
    assert 'trimtab_serve_request_duration_seconds_bucket{model="m",revision="r",le="0.01"} 3\n' in text
    assert 'trimtab_serve_queue_depth_requests{model="m",revision="r"} 7\n' in text


def test_every_series_belongs_to_a_family_that_is_described():
    """Prometheus warns about metrics without a type."""
    text = render([Metrics("m", "r"), Metrics("n", "r")]).decode()
    described = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    helped = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    series = {line.partition("{")[0] for line in text.splitlines() if not line.startswith("#")}
    bare = {
        name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") if name not in described else name
        for name in series
    }
    assert described == helped
    assert bare <= described


def test_labels_are_escaped():
    """A name cannot break out of its quotes."""
    assert r'model="a\"b\\c"' in render([Metrics('a"b\\c', "r")]).decode()

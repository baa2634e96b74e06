import json

import onnx
import pytest
from onnx import helper

from trimtab.workloads.compress.coverage import coverage
from trimtab.workloads.compress.machine import this_machine, usable_cpus
from trimtab.workloads.compress.progress import Reporter, Stage


@pytest.mark.parametrize(
    ("limit", "cpus"), [("max 100000", 64), ("150000 100000", 2), ("50000 100000", 1), ("nonsense", 64)]
)
def test_usable_cpus(tmp_path, monkeypatch, limit, cpus):
    """The cgroup's limit counts, rounded up; without one, what the process may run on."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)))
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text(limit)
    assert usable_cpus(tmp_path) == cpus


@pytest.mark.parametrize(
    ("cpuinfo", "reduce_range"),
    [
        ("model name\t: Xeon\nflags\t\t: avx512f avx512_vnni\n", False),
        ("model name\t: Skylake\nflags\t\t: avx2 avx512f\n", True),
        ("Features\t: fp asimd asimddp\n", False),
        (None, True),
    ],
)
def test_reduce_range_follows_the_cpu(tmp_path, cpuinfo, reduce_range):
    """Without VNNI, int8 products can overflow 16 bits: weights then use 7 bits. Unknown CPUs are treated so too."""
    if cpuinfo is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    assert this_machine(1, tmp_path).reduce_range is reduce_range


def test_progress_tells_the_share_and_the_rest():
    """A stage counts by its weight; time left follows from the time so far; fresh lines are not repeated."""
    now = 0.0
    lines = []
    reporter = Reporter([Stage("export", 1), Stage("train", 3)], lines.append, lambda: now)
    reporter.begin(0)
    now = 5.0
    reporter.begin(1)
    now = 5.1
    reporter.tick(0.01, "too fresh")
    now = 10.0
    reporter.tick(1 / 3, "epoch 1 of 3")
    told = [(p["percent"], p.get("remainingSeconds"), p["detail"]) for p in map(json.loads, lines)]
    assert told == [(0, None, ""), (25, 15, ""), (50, 10, "epoch 1 of 3")]


def test_what_an_earlier_pod_did_does_not_make_the_forecast_rosy():
    """Stages passed over, and the part of a stage that was resumed, count as done but not as done in this time."""
    now = 0.0
    lines = []
    stages = [Stage("export", 1), Stage("prune", 2), Stage("train", 6), Stage("publish", 1)]
    reporter = Reporter(stages, lines.append, lambda: now)
    reporter.begin(0)
    now = 10.0
    reporter.begin(2)
    reporter.resumed(0.5)
    now = 25.0
    reporter.tick(0.75, "epoch 3 of 4")
    told = [(p["percent"], p.get("remainingSeconds"), p["detail"]) for p in map(json.loads, lines)]
    assert told == [(0, None, ""), (30, 70, ""), (60, 40, "resumed"), (75, 25, "epoch 3 of 4")]


def a_quantized_graph(quantized):
    """Two layers of 8 and 24 weights, each with int8 or float weights."""
    float_, int8 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT8
    nodes, weights = [], [helper.make_tensor("s", float_, [], [1.0]), helper.make_tensor("z", int8, [], [0])]
    for name, source, target, shape in (("a", "x", "h", [2, 4]), ("b", "h", "y", [4, 6])):
        count = shape[0] * shape[1]
        weights.append(helper.make_tensor(name, int8 if name in quantized else float_, shape, [1] * count))
        used = name
        if name in quantized:
            used = f"{name}_float"
            nodes.append(helper.make_node("DequantizeLinear", [name, "s", "z"], [used]))
        nodes.append(helper.make_node("MatMul", [source, used], [target]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", float_, ["batch", 2])],
        [helper.make_tensor_value_info("y", float_, ["batch", 6])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize(("quantized", "share"), [("", 0.0), ("a", 0.25), ("b", 0.75), ("ab", 1.0)])
def test_coverage(quantized, share):
    """Coverage is the share of weights, and of work, whose weights are int8."""
    found = coverage(a_quantized_graph(quantized))
    assert (found.weights, found.macs) == (share, share)

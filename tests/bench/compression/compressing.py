"""Makes the variants of a model, each once, and asks each for its answers to the test samples."""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asking import Worker
from tools.making import Made

# Variants by tool; the first is what everything is compared with.
TOOLS: dict[str, tuple[str, ...]] = {
    "plain": ("eager", "onnxruntime", "openvino"),
    "ort": ("static", "dynamic"),
    "nncf": ("quantize", "accuracy-control"),
    "inc": ("static", "tuned"),
    "torchao": ("weight-only", "dynamic", "pt2e"),
    "ours": ("candidate-0", "fast", "balanced", "smallest", "search-latency", "search-throughput"),
}
REFERENCE = "plain-eager"
# Tools whose requirements do not fit ours, with an environment each.
APART = {"inc": ("neural-compressor==2.6", "onnx==1.16.2", "onnxruntime==1.19.2", "numpy<2", "six")}
MADE, ANSWERS = "made.json", "answers.npy"
LONGEST_S = 45 * 60


@dataclass(frozen=True, slots=True)
class Variant:
    """A model as one tool leaves it; `made` is what made.json says."""

    name: str
    folder: Path
    made: dict[str, Any]

    @property
    def works(self) -> bool:
        return "error" not in self.made


def variants(model: Path, tools: list[str], chosen: list[str] | None, *, reuse: bool) -> Iterator[Variant]:
    """Yield the variants of a model, those that failed included; with `reuse` only those that are there."""
    for tool in tools:
        for name in TOOLS[tool]:
            if chosen is not None and f"{tool}-{name}" not in (*chosen, REFERENCE):
                continue
            folder = model / "variants" / f"{tool}-{name}"
            if not (folder / MADE).is_file():
                if reuse:
                    continue
                _make(tool, name, model, folder)
            yield Variant(f"{tool}-{name}", folder, json.loads((folder / MADE).read_text()))


def _make(tool: str, name: str, model: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"{model.name}: {tool} {name}", file=sys.stderr, flush=True)
    began, before = time.perf_counter(), _cpu_seconds()
    command = [str(_python(tool, model.parents[1])), __file__, tool, name, str(model), str(folder)]
    made: dict[str, Any]
    with (folder / "tool.log").open("w") as log:
        try:
            code = subprocess.run(command, stdout=log, stderr=log, timeout=LONGEST_S, check=False).returncode
        except subprocess.TimeoutExpired:
            code = -1
    seconds = {"seconds": time.perf_counter() - began, "cpu_seconds": _cpu_seconds() - before}
    draft = folder / "draft.json"
    if code == 0 and draft.is_file():
        made = json.loads(draft.read_text()) | seconds
        made |= _answered(made, model, folder)
    else:
        made = {"error": f"ended with {code}: {_last_line(folder / 'tool.log')}"} | seconds
    (folder / MADE).write_text(json.dumps(made, indent=1))
    print(
        f"  {made.get('error') or made.get('note') or 'made'} ({seconds['seconds']:.0f} s)", file=sys.stderr, flush=True
    )


def _answered(made: dict[str, Any], model: Path, folder: Path) -> dict[str, Any]:
    """Ask a new variant for its answers; what cannot be asked has failed."""
    try:
        with Worker(made["runtime"], made["file"], model, threads=1, log=folder / "worker.log") as worker:
            worker.answers(folder / ANSWERS)
    except RuntimeError as error:
        return {"error": str(error)}
    return {}


def _python(tool: str, cache: Path) -> Path:
    """Return the interpreter for a tool, its environment made unless it is there."""
    if tool not in APART:
        return Path(sys.executable)
    environment = cache / "environments" / tool
    python = environment / "bin" / "python"
    ready = environment / "ready"
    if not ready.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *APART[tool]], check=True)
        ready.touch()
    return python


def _cpu_seconds() -> float:
    """Return the CPU time of every process that was waited for: it says more than a clock on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return (lines or ["it said nothing"])[-1][:300]


def main(tool: str, name: str, model: str, folder: str) -> None:
    """Make one variant, in the tool's own process."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    made: Made = importlib.import_module(f"tools.{tool}").make(name, Path(model), Path(folder))
    told = {
        "runtime": made.runtime,
        "file": str(made.file),
        "bytes": sum(path.stat().st_size for path in made.files),
        "note": made.note,
        "weights": made.weights,
    }
    (Path(folder) / "draft.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Ours: presets and searches as users write them, each through `trimtab compress run`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from tools.making import Made, Runtime

COMPRESSIONS: dict[str, dict[str, Any]] = {
    "candidate-0": {"preset": "None"},
    "fast": {"preset": "Fast"},
    "balanced": {"preset": "Balanced"},
    "smallest": {"preset": "Smallest"},
    "search-latency": {"search": {"objective": "Latency"}},
    "search-throughput": {"search": {"objective": "Throughput"}},
}
VARIANTS = tuple(COMPRESSIONS)
CODE = "import sys; from trimtab.cli import main; sys.exit(main())"


def make(variant: str, model: Path, into: Path) -> Made:
    request = json.loads((model / "spec.json").read_text())
    request |= {"compression": COMPRESSIONS[variant], "output": (into / "out").as_uri()}
    spec = into / "spec.json"
    spec.write_text(json.dumps(request, indent=1))
    command = [sys.executable, "-c", CODE, "compress", "run", "--spec", str(spec)]
    said = into / "run.out"
    with said.open("w") as out, (into / "run.log").open("w") as log:
        subprocess.run(command, stdout=out, stderr=log, check=False)  # its last line says how it ended
    result = json.loads(said.read_text().splitlines()[-1])
    if "artifact" not in result:
        raise RuntimeError(f"{result['reason']}: {result['message']}")
    folder = Path(urlparse(result["artifact"]["uri"]).path)
    file = next(path for name in ("model.onnx", "model.xml") if (path := folder / name).is_file())
    verdict = result["guardrail"]["verdict"]
    steps = ", ".join(result.get("recipe", [])) or "exported"
    return Made(Runtime.SERVED, file, tuple(sorted(folder.glob("model.*"))), f"{steps}; {verdict}")

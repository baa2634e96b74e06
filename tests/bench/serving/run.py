"""Our serving runtime beside kserve, MLServer, LitServe and BentoML: same model, same client, same core, in turns.

    .venv/bin/python tests/bench/serving/run.py                      # everything, about a quarter of an hour
    .venv/bin/python tests/bench/serving/run.py --parts small --only trimtab kserve

Each peer gets an environment of its own in the cache folder, made by pip. Servers have the first core, one thread for
the engine, and are stopped while others have their turn; the client has the second core. Every answer is compared with
the engine's own. What was found is kept by part in the cache folder; the tables are printed from what is there.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import table
from contenders import CLIENT_CORE, ENVIRONMENTS, EVERYONE, make_environment
from parts import PARTS, Found, Run


def main() -> None:
    chosen = _arguments()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, {CLIENT_CORE})
    run = Run(chosen.cache.resolve(), chosen.rounds, chosen.seconds, chosen.only or ())
    for name in {one.environment for one in run.chosen(EVERYONE) if one.environment}:
        make_environment(run.cache, name)
    for part in chosen.parts:
        found = Found()
        PARTS[part](run, found)
        kept = {"answers": found.answers, "wrong": found.wrong, "client": found.busiest_client, "rows": found.rows}
        (run.cache / f"serving-{part}.json").write_text(json.dumps(kept, indent=1))
    print(", ".join(packages[0] for packages in ENVIRONMENTS.values()))
    print(table.document({part: json.loads(file.read_text()) for part in PARTS if (file := _file(run, part)).exists()}))


def _file(run: Run, part: str) -> Path:
    return run.cache / f"serving-{part}.json"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/bench"), help="for environments, models and results")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="none: only print")
    parser.add_argument("--only", nargs="+", help="servers whose name has one of these in it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    return parser.parse_args()


if __name__ == "__main__":
    main()

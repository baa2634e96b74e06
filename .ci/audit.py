# ruff: noqa: INP001 - a script, no part of the package
"""Asks which versions in constraints.txt have known weaknesses: `python .ci/audit.py [ARGUMENTS OF pip-audit]`.

pip-audit counts a package that its database has never heard of as free of weaknesses, and does so for all of them where
a mirror answers in the database's place. Here an answer that is missing is a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
CLEAN, WEAK, UNKNOWN = 0, 1, 2


def command(arguments: list[str]) -> list[str]:
    """Return pip-audit's command line: every pin, as it is written, and nothing resolved or installed."""
    fixed = ["--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
    return [sys.executable, "-m", "pip_audit", *fixed, "--progress-spinner", "off", "--format", "json", *arguments]


def verdict(output: str, errors: str) -> tuple[int, str]:
    """Return the exit code and what to say of pip-audit's answer."""
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        last = (errors.strip().splitlines() or ["no answer"])[-1]
        return UNKNOWN, f"error: the advisory database could not be asked, so nothing is known: {last}"
    weak = [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    if weak:
        return WEAK, "\n".join(weak)
    if unknown := [package["name"] for package in packages if "skip_reason" in package]:
        said = f"error: the advisory database knows nothing of {len(unknown)} of {len(packages)} packages"
        return UNKNOWN, f"{said}, so nothing is known of {', '.join(unknown[:5])}{', ...' * (len(unknown) > 5)}"
    return CLEAN, f"no known weaknesses in {len(packages)} packages"


def main() -> int:
    done = subprocess.run(command(sys.argv[1:]), capture_output=True, text=True, check=False)
    code, text = verdict(done.stdout, done.stderr)
    (sys.stderr if code == UNKNOWN else sys.stdout).write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

"""The bill of materials names what the images hold, and an audit that learned nothing is no audit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ciscripts import script

ROOT = Path(__file__).parents[1]

audit, sbom = script("audit"), script("sbom")


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    made: dict[str, Any] = sbom.environment(validate=False)
    return made


@pytest.mark.parametrize("image", sorted(sbom.images()))
def test_each_image_has_its_bill(bill: dict[str, Any], image: str) -> None:
    """With the versions that constraints.txt pins, nothing of the tests, and no edge that leads out of it."""
    seen: dict[str, set[str]] = {}
    extras = ",".join(sorted(sbom.images()[image]))
    sbom.closure(sbom.Requirement(f"trimtab[{extras}]"), seen)
    part = sbom.of_image(bill, image, set(seen))
    listed = {sbom.canonicalize_name(one["name"]): one["version"] for one in part["components"]}
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pins = {sbom.canonicalize_name(name): version for name, version in pins.items()}
    assert len(listed) > 5
    assert {name: version.split("+")[0] for name, version in listed.items()} == {name: pins[name] for name in listed}
    assert set(seen) - set(listed) <= {"trimtab"}
    assert not {"pytest", "mkdocs", "pip-audit"} & set(listed)
    refs = {part["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in part["components"])}
    edges = part["dependencies"]
    assert {entry["ref"] for entry in edges} | {ref for entry in edges for ref in entry.get("dependsOn", ())} <= refs
    assert part["metadata"]["component"]["name"] == f"trimtab/{image}"
    assert any(one.get("licenses") for one in part["components"])


def test_every_pin_is_asked_about() -> None:
    """pip-audit takes our command line, and would ask about as many packages as there are pins."""
    done = subprocess.run(audit.command(["--dry-run"]), capture_output=True, text=True, check=False)
    pins = sum("==" in line for line in (ROOT / "constraints.txt").read_text().splitlines())
    assert done.returncode == 0, done.stderr
    assert f"would have audited {pins} packages" in done.stderr


def test_a_database_that_cannot_be_reached_is_a_failure(tmp_path: Path) -> None:
    """Whoever has no internet reads that, and no traceback."""
    closed = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}
    command = [sys.executable, ROOT / ".ci" / "audit.py", "--cache-dir", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **closed})
    assert done.returncode == audit.UNKNOWN
    assert done.stderr.startswith("error: the advisory database could not be asked, so nothing is known: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("packages", "code", "text"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "no known weaknesses in 1 packages"),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1", "2"]}]}],
            1,
            "a 1: CVE-1, fixed in 1.1, 2",
        ),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": []}]}],
            1,
            "a 1: CVE-1, fixed in none",
        ),
        (
            [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}],
            2,
            "error: the advisory database knows nothing of 1 of 2 packages, so nothing is known of b",
        ),
    ],
)
def test_what_an_answer_means(packages: list[dict[str, Any]], code: int, text: str) -> None:
    """pip-audit itself calls a package that nobody has heard of free of weaknesses."""
    assert audit.verdict(json.dumps({"dependencies": packages}), "") == (code, text)

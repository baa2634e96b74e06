"""kubectl as people type it: every section of the script, unchanged, on whatever cluster is under test."""

import asyncio
import os
import re
from pathlib import Path

import pytest
from clusters.undertest import ClusterUnderTest

HERE = Path(__file__).parent
SECTIONS = sorted((HERE / "sections").glob("*.sh"))


def needs(section: Path) -> list[str]:
    """What a section's first line says that it needs of a cluster beyond an API server."""
    found = re.fullmatch(r"# needs: (.+)", section.read_text().partition("\n")[0])
    assert found, f"{section}: the first line is '# needs: WHAT ...' or '# needs: nothing'"
    return [] if found[1] == "nothing" else found[1].split()


@pytest.mark.integration
@pytest.mark.parametrize(
    "section",
    [pytest.param(path.stem, marks=pytest.mark.needs("kubectl", *needs(path))) for path in SECTIONS],
)
async def test_kubectl(cluster_under_test: ClusterUnderTest, tmp_path: Path, section: str) -> None:
    """Every command of the section prints what it prints on Kubernetes."""
    process = await asyncio.create_subprocess_exec(
        str(HERE / "run"),
        section,
        env={**os.environ, "KUBECONFIG": str(cluster_under_test.kubeconfig), "HOME": str(tmp_path)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode:
        pytest.fail(said.decode(), pytrace=False)

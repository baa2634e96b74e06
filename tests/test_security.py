"""docs/security.md promises a test for each line: here they are looked up."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES = [
    line for line in (ROOT / "docs" / "security.md").read_text().splitlines() if re.match(r"\| (?!what is|---)", line)
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip())
def test_each_threat_has_a_test(line):
    """The named file has the named test."""
    named = re.findall(r"`(tests/[^`]+)`", line.rsplit("|", 2)[1])
    assert named, f"no test is named: {line}"
    for path, _, name in (test.partition("::") for test in named):
        tests = {
            node.name
            for node in ast.parse((ROOT / path).read_text()).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        }
        assert name in tests, f"{path} has no test {name!r}"


def test_there_is_a_model_of_threats():
    """Were the tables not found, the test above would test nothing."""
    assert len(LINES) > 20

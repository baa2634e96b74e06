"""The tutorial, followed once: its cluster serves the other pages, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from documents import ROOT, blocks
from readersshell import Shell, follow

CLEAN_UP = "trimtab local down"


@pytest.fixture(scope="session")
def tutorial(kubectl_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The shell of somebody who has come to the end of the tutorial and not yet cleaned up; that comes last."""
    page = blocks(ROOT / "docs" / "tutorial.md")
    (last,) = (number for number, block in enumerate(page) if CLEAN_UP in block.text)
    shell = Shell(tmp_path_factory.mktemp("docs"))
    try:
        try:
            follow(shell, page[:last])
            yield shell
        finally:
            follow(shell, page[last:])
    finally:
        shell.close()

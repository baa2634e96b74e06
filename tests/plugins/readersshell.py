"""A shell in which the documents' commands run one after the other, as a reader types them."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from documents import ROOT, Block, commands, is_shell

PATIENCE_S = 600.0
# What a reader has done already where tests run.
DONE = ("make install", "source .venv/bin/activate")


class Shell:
    """One bash, whose variables stay from command to command."""

    def __init__(self, folder: Path) -> None:
        kept = {name: os.environ[name] for name in ("LANG", "VIRTUAL_ENV", "PYTHONPATH") if name in os.environ}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own = {"PATH": path, "HOME": str(folder), "TMPDIR": str(folder), "XDG_STATE_HOME": str(folder / "state")}
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=ROOT,
            env={**kept, **own, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> str:
        """Return what a command printed; one that fails, or takes for ever, fails the test."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mark = secrets.token_hex(8)
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nstatus=$?; echo; echo {mark} $status\n")
        self._process.stdin.flush()
        late = threading.Timer(PATIENCE_S, self._process.kill)
        late.start()
        said: list[str] = []
        try:
            for line in self._process.stdout:
                if line.startswith(mark):
                    break
                said.append(line)
            else:
                pytest.fail(f"no end of: {command}\n{''.join(said)}", pytrace=False)
        finally:
            late.cancel()
        if line.split() != [mark, "0"]:
            pytest.fail(f"$ {command}\n{''.join(said)}", pytrace=False)
        return "".join(said)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()


def follow(
    shell: Shell, page: list[Block], skipped: Collection[str] = DONE, as_run: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Run a page's commands; what it shows of their output is what they print, but for words with a digit in them."""
    said = ""
    for block in page:
        if block.language == "text":
            for line in block.text.splitlines():
                words = (r"\S+" if re.search(r"\d", word) else re.escape(word) for word in line.split())
                assert re.search(r"[ \t]+".join(words), said), f"{block}: {line}\nis not what was printed:\n{said}"
        elif is_shell(block):
            said = "".join(shell.run(as_run.get(one, one)) for one in commands(block) if one not in skipped)

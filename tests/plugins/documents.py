"""What the documents show: their blocks, the commands in those, and the YAML."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md")),
]
# A line of an unlabelled block that begins with one of these is a command, whatever stands around it.
_PROGRAMS = re.compile(
    r"(\$ |[A-Z_]+=|(\.venv/bin/)?(aws|bash|cat|cd|curl|docker|export|flux|argocd|for|git|helm|kind|kubectl|make|mkdir|"
    r"npm|pip|pytest|python\d?|rm|sed|setup-envtest|sh|source|trimtab|uv)( |$)|tests/\S+/run\b)"
)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code in a page; the language is what its fence says, and empty for an indented one."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """Return a page's blocks in order."""
    page = path.relative_to(ROOT).as_posix()
    found: list[Block] = []
    lines = path.read_text().splitlines()
    number = 0
    while number < len(lines):
        start = number
        if fence := re.fullmatch(r"( *)```(\w*).*", lines[number]):
            number += 1
            while lines[number].strip() != "```":
                number += 1
            body = [line.removeprefix(fence[1]) for line in lines[start + 1 : number]]
            found.append(Block(page, start + 2, fence[2], "\n".join(body) + "\n"))
        elif indented := re.match(r"( {4,})\S", lines[number]):
            while number < len(lines) and (not lines[number].strip() or lines[number].startswith(indented[1])):
                number += 1
            body = [line.removeprefix(indented[1]) for line in lines[start:number]]
            found.append(Block(page, start + 1, "", "\n".join(body).rstrip() + "\n"))
            continue
        number += 1
    return found


def is_shell(block: Block) -> bool:
    """Whether a block holds commands; one that mixes them with what they print is one line of either."""
    return block.language in {"sh", "bash", "shell", "console"} or (not block.language and any(_candidates(block)))


def _candidates(block: Block) -> Iterator[str]:
    return (line for line in block.text.splitlines() if _PROGRAMS.match(line))


def commands(block: Block) -> list[str]:
    """Return the commands of a shell block, each whole: continued lines, open quotes, loops and here-documents."""
    found: list[str] = []
    pending: list[str] = []
    for line in block.text.splitlines():
        if not pending and (not line.strip() or line.startswith("#") or not (block.language or _PROGRAMS.match(line))):
            continue
        pending.append(line.removeprefix("$ "))
        text = "\n".join(pending)
        if not text.endswith("\\") and is_complete(text):
            found.append(without_comment(text))
            pending = []
    if pending:
        raise ValueError(f"{block}: no whole command: {pending}")
    return found


def is_complete(text: str) -> bool:
    """Whether bash takes it as a whole command."""
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
    return done.returncode == 0 and "here-document" not in done.stderr


def without_comment(text: str) -> str:
    """Return a command in one form: no comment at its end, one blank where continued lines meet."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    return joined if "\n" in joined else re.sub(r"\s{2,}#.*$", "", joined).strip()

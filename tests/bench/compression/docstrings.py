"""Texts whose class is known by construction: docstrings of installed packages, read without importing any of them."""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import islice
from pathlib import Path

# Distribution and the package it installs; the constraints file pins their versions.
PACKAGES = {
    "torch": "torch",
    "scipy": "scipy",
    "scikit-learn": "sklearn",
    "matplotlib": "matplotlib",
    "sympy": "sympy",
    "networkx": "networkx",
    "numpy": "numpy",
    "transformers": "transformers",
    "SQLAlchemy": "sqlalchemy",
    "moto": "moto",
    "nncf": "nncf",
    "optuna": "optuna",
}
FEWEST_WORDS, MOST_WORDS = 8, 60
_NAMED = re.compile("|".join((*PACKAGES, *PACKAGES.values(), "np", "plt", "nx", "SciPy", "PyTorch")), re.IGNORECASE)


def docstrings(most: int) -> Iterator[tuple[str, int]]:
    """Yield texts with the number of their package, at most `most` of each; none twice, and none that names a package.

    Files are read in the order of their names' digests, so that the texts come from all over a package.
    """
    for label, (distribution, package) in enumerate(PACKAGES.items()):
        folder = Path(str(metadata.distribution(distribution).locate_file(package)))
        paths = sorted(folder.rglob("*.py"), key=lambda path: _digest(path.relative_to(folder).as_posix()))
        texts = _once(text for path in paths for text in _texts(path))
        yield from ((text, label) for text in islice(texts, most))


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def _texts(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's escapes
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            words = _NAMED.sub("", ast.get_docstring(node) or "").split()
            if len(words) >= FEWEST_WORDS:
                yield " ".join(words[:MOST_WORDS])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _once(texts: Iterable[str]) -> Iterator[str]:
    """Yield each text the first time that it comes."""
    seen: set[str] = set()
    for text in texts:
        if text not in seen:
            seen.add(text)
            yield text

"""The package of this name, which takes a second to compile a grammar that hardly any process comes to use.

The Kubernetes client brings it, by way of jsonschema, into every process where kubernetes-validate is installed: in
operators, gateways and commands, of which the tests start hundreds.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType


def is_valid_syntax(term: str, text: str) -> bool:
    """As the package says it."""
    return bool(_package().is_valid_syntax(term, text))


@cache
def _package() -> ModuleType:
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    spec = PathFinder.find_spec(__name__, elsewhere)
    assert spec is not None
    assert spec.loader is not None
    package = sys.modules[__name__] = module_from_spec(spec)
    spec.loader.exec_module(package)
    return package

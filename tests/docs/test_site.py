"""The site is whole without internet, and its reference is what the code says."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from documents import ROOT
from mkdocs.exceptions import PluginError

from trimtab.api.conditions import Reason


def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generated = hook()
REFERENCE = generated.pages()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it: what leads nowhere fails."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.integration
def test_every_page_is_there(site: Path) -> None:
    """Those that are written, and those that are made."""
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    pages = {page.with_name("index.html") if page.name == "README.html" else page for page in pages}
    made = {Path("reference", f"{name}.html") for name in REFERENCE}
    assert len(made) == 5
    assert {page for page in pages | made if not (site / page).is_file()} == set()
    assert not list(site.rglob("*.py"))


@pytest.mark.integration
def test_each_reason_can_be_found(site: Path) -> None:
    """The page of troubleshooting has what a status says."""
    text = (site / "conditions.html").read_text()
    reasons = {value for name, value in vars(Reason).items() if name.isupper()}
    assert {reason for reason in reasons if f"<code>{reason}</code>" not in text} == set()


def test_a_page_that_asks_another_host_is_refused(tmp_path: Path) -> None:
    """Links may lead anywhere; scripts, styles and pictures come from the site."""
    page = tmp_path / "index.html"
    page.write_text('<a href="https://example.com">x</a><script src="assets/a.js"></script>')
    generated.on_post_build(SimpleNamespace(site_dir=tmp_path))
    page.write_text('<link rel="stylesheet" href="https://fonts.example.com/a.css">')
    with pytest.raises(PluginError, match=re.escape("index.html fetches https://fonts.example.com/a.css")):
        generated.on_post_build(SimpleNamespace(site_dir=tmp_path))


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("optimizedmodel", r"\| `spec\.source\.uri` \| string \| required \| .*file:///.* \|"),
        ("optimizedmodel", r"\| `spec\.guardrail\.maxDrop` \| string \| `1pp` \| .* \|"),
        ("optimizedmodel", r"\| `spec\.compression\.steps\[\]\.quantize\.scheme` \| `INT8`, .* \| required \| .* \|"),
        ("optimizedmodel", r"\| `status\.conditions\[\]\.reason` \| .*"),
        ("capacitypool", r"\| `spec\.capacityType` \| `Spot`, `OnDemand`, `Reserved` \| required \| .* \|"),
        ("cli", r"### trimtab local up"),
        ("cli", r"\| `--gateway-replicas .*` \| `2` \| Pods of each namespace's gateway\. \|"),
        ("environment", r"\| `TRIMTAB_ARTIFACTS_URI` \| `trimtab operator --artifacts-uri` \| .* \|"),
        ("environment", r"\| `TRIMTAB_RUN` \| compression Jobs \| .* \|"),
        ("metrics", r"\| `trimtab_cost_total` \| counter \| .* \|"),
        ("metrics", r"\| `trimtab_gateway_in_flight` \| gauge \| .* \|"),
        ("metrics", r"\| `trimtab_serve_requests_total` \| counter \| .* \|"),
    ],
)
def test_the_reference_says_what_the_code_says(page: str, line: str) -> None:
    """A line of each kind, as it is written."""
    assert re.search(f"^{line}$", REFERENCE[page], re.MULTILINE)


def test_every_variable_of_ours_is_listed() -> None:
    """Whatever begins with TRIMTAB_ in the package, but for what belongs to one process and its children."""
    package = ROOT / "operator" / "trimtab"
    named = {
        name
        for path in package.rglob("*.py")
        if "local" not in path.relative_to(package).parts
        for name in re.findall(r"\bTRIMTAB_[A-Z_]+\b", path.read_text())
    }
    assert len(named) > 20
    assert {name for name in named if f"| `{name}` |" not in REFERENCE["environment"]} == set()

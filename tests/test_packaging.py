"""What is shipped is whole, what is promised exists, and nothing knows the machine it was written on."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import trimtab.cli
from trimtab.api.conditions import Reason
from trimtab.cli import main
from trimtab.cli.demo.assets import kustomized
from trimtab.errors import Stalled

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def python(*arguments: str, cwd: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def distributions(extra: str) -> set[str]:
    """Return the names of what an extra installs directly, those of the extras that it names included."""
    found = set()
    for requirement in EXTRAS[extra]:
        if nested := re.match(r"trimtab\[(.+)\]", requirement):
            found |= {name for part in nested[1].split(",") for name in distributions(part.strip())}
        else:
            found.add(re.match(r"[A-Za-z0-9_.-]+", requirement)[0].lower())  # type: ignore[index]
    return found


def test_the_source_root_is_no_package() -> None:
    """An `__init__.py` or a test in `operator/` would shadow Python's own `operator` when run from the root."""
    assert [entry.name for entry in (ROOT / "operator").iterdir() if entry.name != "__pycache__"] == ["trimtab"]
    assert "operator.py" in python("-c", "import operator; print(operator.__file__)")
    assert python("-c", "import operator, trimtab; print(operator.add(1, 2))") == "3"


@pytest.mark.parametrize(
    ("extra", "unwanted"),
    [
        ("serve", {"torch", "kopf", "kubernetes", "onnx", "scikit-learn", "matplotlib"}),
        ("operator", {"torch", "onnxruntime", "onnx", "numpy"}),
        ("gateway", {"torch", "onnxruntime", "kopf", "numpy"}),
        ("compress", {"kopf", "kubernetes", "aiohttp"}),
        ("local", {"torch", "onnxruntime", "kopf", "kubernetes"}),
    ],
)
def test_extras_do_not_leak(extra: str, unwanted: set[str]) -> None:
    """Each image carries what it runs and no more."""
    assert distributions(extra) & unwanted == set()


@pytest.mark.parametrize("command", ["serve", "operator", "gateway", "local", "demo", "crds"])
def test_subcommands_import_only_their_own(command: str) -> None:
    """Asking a subcommand for help loads no torch; a serving pod never loads Kopf or a Kubernetes client."""
    heavy = {"torch", "sklearn", "matplotlib"} | ({"kopf", "kubernetes", "onnx"} if command == "serve" else set())
    code = (
        "import sys; from trimtab.cli import main\n"
        f"try: main([{command!r}, '--help'])\n"
        f"except SystemExit: print(sorted({heavy!r} & set(sys.modules)))"
    )
    assert python("-c", code).splitlines()[-1] == "[]"


def test_help_lists_every_subcommand_and_imports_none() -> None:
    """The overview is there even where no extra is installed."""
    code = "import sys; from trimtab.cli import main; main(['-h'], standalone_mode=False); print('yaml' in sys.modules)"
    shown = python("-c", code)
    for name in ("demo", "local", "operator", "compress", "serve", "gateway", "crds", "version"):
        assert re.search(rf"^  {name} ", shown, re.MULTILINE), name
    assert shown.endswith("False")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever installed too little reads what to install, not a traceback."""

    def not_there(module: str) -> None:
        raise ModuleNotFoundError(f"No module named 'kopf' (from {module})", name="kopf")

    monkeypatch.setattr(trimtab.cli.importlib, "import_module", not_there)
    result = CliRunner().invoke(main, ["operator"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: `trimtab operator` needs the Python module 'kopf'; install it with: pip install 'trimtab[operator]'\n"
    )


def test_a_hole_in_our_own_tree_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of ours that is missing is no matter of extras."""

    def not_there(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(trimtab.cli.importlib, "import_module", not_there)
    assert isinstance(CliRunner().invoke(main, ["serve"]).exception, ModuleNotFoundError)


def test_failures_that_users_understand_have_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours is a sentence and exit code 1."""

    def fails(module: str) -> None:
        raise Stalled("NotRunning", f"{module} does not run")

    monkeypatch.setattr(trimtab.cli.importlib, "import_module", fails)
    result = CliRunner().invoke(main, ["local"])
    assert (result.exit_code, result.output) == (1, "Error: NotRunning: trimtab.cli.local does not run\n")


def test_version_is_the_packages() -> None:
    """The command, the module and the distribution agree."""
    assert CliRunner().invoke(main, ["version"]).output.strip() == trimtab.__version__
    assert trimtab.__version__ in CliRunner().invoke(main, ["--version"]).output


def test_constraints_pin_every_direct_dependency() -> None:
    """A fresh clone installs the versions that the tests passed with, from whatever index it is given."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line) for line in lines), "names and versions only"
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    base = {re.match(r"[A-Za-z0-9_-]+", entry)[0].lower() for entry in PROJECT["dependencies"]}  # type: ignore[index]
    wanted = base | {name.split("[")[0] for name in distributions("test")}
    assert wanted - pinned == set()


def test_the_readmes_commands_exist() -> None:
    """Every `make` and `trimtab` command that the documents show is one."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = "\n".join(path.read_text() for path in DOCUMENTS)
    made = set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", shown, re.MULTILINE))
    assert {"demo", "test"} <= made <= targets
    run = set(re.findall(r"(?:^ {4}|`)trimtab ([a-z]+)", shown, re.MULTILINE))
    assert run <= set(main.list_commands(None))  # type: ignore[arg-type]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    """No document points to a file that is not there."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_reason_is_documented() -> None:
    """docs/conditions.md has a line for each reason, and none for one that is no more."""
    reasons = {value for name, value in vars(Reason).items() if name.isupper()}
    text = (ROOT / "docs" / "conditions.md").read_text()
    tables = text[text.index("## Progress") :]
    assert set(re.findall(r"^\| `(\w+)` \|", tables, re.MULTILINE)) == reasons


def test_license() -> None:
    """The license is Apache-2.0, in full and in the metadata."""
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"


def test_nothing_refers_to_the_machine_it_was_written_on() -> None:
    """No path of somebody's machine in any file of the repository."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    files = [ROOT / name for name in names.split("\0") if name]
    if not files:
        pytest.skip("not a git checkout")
    pattern = re.compile("|".join(f"/{name}/" for name in ("work/(?:main|shared)", "root", "home", "Users")).encode())
    found = []
    for path in files:
        if path.is_file():
            hit = pattern.search(path.read_bytes())
            found += [f"{path.relative_to(ROOT)}: {hit[0]!r}"] if hit else []
    assert found == []


@pytest.mark.integration
def test_the_wheel_is_whole(tmp_path: Path) -> None:
    """A wheel has the package, its type marker, manifests and CRDs; it imports without any dependency."""
    python("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("trimtab-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    assert (site / "trimtab" / "py.typed").is_file()
    assert not any(path.name.startswith(("test_", "conftest")) for path in site.rglob("*.py"))
    bare = "import sys; sys.path.insert(0, sys.argv[1]); import trimtab; print(trimtab.__version__, trimtab.__file__)"
    version, file = python("-I", "-S", "-c", bare, str(site), cwd=tmp_path).split()
    assert version == trimtab.__version__
    assert Path(file).is_relative_to(site)
    folder = python("-P", "-c", _INSTALLED, cwd=tmp_path, PYTHONPATH=str(site))
    checkout = len(kustomized(ROOT / "manifests"))
    assert folder == f"{checkout} objects from {site / 'trimtab' / 'cli' / 'assets' / 'manifests'}"


_INSTALLED = (
    "from trimtab.cli.demo.assets import kustomized, manifests_folder as folder;"
    "print(len(kustomized(folder())), 'objects from', folder())"
)

"""Networks compiled by AOTInductor."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.api.runs import RunSpec
from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.store import open_artifact
from trimtab.workloads.compress import aotinductor
from trimtab.workloads.compress.aotinductor import level_of
from trimtab.workloads.compress.compiled import compiled_in, is_code
from trimtab.workloads.compress.machine import this_machine
from trimtab.workloads.compress.pipeline import Run
from trimtab.workloads.compress.stopping import Stop
from trimtab.workloads.serve import engine_torch
from trimtab.workloads.serve.engine import load_runner
from trimtab.workloads.serve.loading import fetched, load_fetched

AOT = {"compile": {"engine": "AotInductor"}}
CODE = "from torch import nn\ndef build(): return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))\n"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A small network that knows its data, as a source of Python code: (folder, data file)."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    x = torch.randn(400, 8)
    with torch.inference_mode():
        y = network(x).argmax(1)
    (folder / "model").mkdir()
    (folder / "model" / "tiny.py").write_text(CODE)
    save_file(network.state_dict(), folder / "model" / "model.safetensors")
    np.savez(folder / "data.npz", x_test=x.numpy(), y_test=y.numpy())
    return folder / "model", folder / "data.npz"


@pytest.fixture(scope="session")
def asked(tiny):
    """Build a run's request: the small network, compiled."""

    def build(output, **compression):
        wanted = {
            "namespace": "default",
            "model": "tiny",
            "key": "k",
            "source": {"uri": tiny[0].as_uri(), "entrypoint": "tiny:build"},
            "compression": compression or {"steps": [AOT]},
            "guardrail": {"dataset": {"uri": tiny[1].as_uri()}, "maxDrop": "2pp"},
            "output": output.as_uri(),
            "allowCode": True,
        }
        return RunSpec.model_validate_json(json.dumps(wanted))

    return build


@pytest.fixture(scope="session")
def compiled(asked, tmp_path_factory):
    """The small network's run and its artifact: (result, folder). Compiled once, it takes half a minute."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "scratch").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = Run(asked(folder / "out"), this_machine(1), folder / "scratch", lambda _line: None, Stop())
        result = run.execute()
    open_artifact(result.artifact.uri, result.artifact.digest, folder / "fetched")
    return result, folder / "fetched"


@pytest.fixture
def copied(compiled, tmp_path):
    """A copy of the package that a test may spoil; `form` changes what stands beside it."""

    def build(**form):
        folder = tmp_path / "package"
        shutil.copytree(compiled[1], folder)
        beside = folder / "model.json"
        beside.write_text(json.dumps(json.loads(beside.read_text()) | form))
        return folder / "model.pt2"

    return build


@pytest.mark.integration
def test_a_compiled_network_says_the_same_and_serves(compiled, tiny):
    """No drop, any batch size, and the artifact tells the instructions that it needs."""
    result, folder = compiled
    assert result.guardrail.verdict is Verdict.PASSED
    assert float(result.guardrail.drop.removesuffix("pp")) == 0
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
        "config.json", "manifest.json", "model.json", "model.pt2"
    ]  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["engine"] == "Torch"
    assert config["cpu"]["isa"] in {"x86-64-v3", "x86-64-v4", "aarch64"}
    found = fetched(lambda: folder)
    assert found.spec.engine is Engine.TORCH
    run = load_fetched(found, 1, 4)
    with np.load(tiny[1]) as data:
        for rows in (1, 2, 5):
            (answer,) = run({"input": data["x_test"][:rows]})
            assert answer.argmax(1).tolist() == data["y_test"][:rows].tolist()


@pytest.mark.integration
def test_the_package_tells_nothing_of_its_making(compiled, tmp_path_factory):
    """No sources, no paths of the run, no time."""
    with zipfile.ZipFile(compiled[1] / "model.pt2") as package:
        assert not [name for name in package.namelist() if name.endswith(".cpp") or "serialization_id" in name]
        assert {entry.date_time for entry in package.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        library = package.read("model/data/aotinductor/model/library0.so")
    assert str(tmp_path_factory.getbasetemp()).encode() not in library
    assert b".wrapper.cpp" not in library


@pytest.mark.integration
def test_the_compiler_gives_equal_bytes_in_other_folders(tmp_path):
    """Paths and random names of sources stay out; a whole run twice would take a minute."""
    libraries = []
    for name in ("first", "second"):
        folder = tmp_path / name
        (folder / "tools").mkdir(parents=True)
        source = folder / f"{name}.wrapper.cpp"
        source.write_text(
            'namespace { int hidden = 3; }\nextern "C" const char* where() { return __FILE__ + hidden - 3; }'
        )
        library = folder / f"{name}.so"
        with aotinductor._plain_compiler(folder / "tools"):
            subprocess.run([aotinductor.COMPILER, source, "-shared", "-fPIC", "-o", library], check=True)
        libraries.append(library.read_bytes())
    assert libraries[0] == libraries[1]
    assert b"model.cpp" in libraries[0]


@pytest.mark.integration
def test_a_package_with_a_changed_byte_is_never_loaded(compiled, tmp_path):
    """A library is code: the pod compares it with the manifest's digest before anything looks into it."""
    uri = tmp_path / "stored"
    shutil.copytree(compiled[1], uri)
    package = bytearray((uri / "model.pt2").read_bytes())
    package[len(package) // 2] ^= 1
    (uri / "model.pt2").write_bytes(package)

    def fetch():
        open_artifact(uri.as_uri(), compiled[0].artifact.digest, tmp_path / "pod")
        return tmp_path / "pod"

    with pytest.raises(Stalled) as caught:
        load_fetched(fetched(fetch), 1, 1)
    assert caught.value.reason == Reason.ARTIFACT_CORRUPT


@pytest.mark.integration
def test_a_cpu_that_lacks_instructions_is_told(copied):
    """Torch would warn, load the library and crash at the first request."""
    with pytest.raises(Stalled, match=r"compiled for x86-64-v9 and would crash on this CPU .*, which lacks avx9000: "):
        load_runner(copied(cpu={"isa": "x86-64-v9", "flags": ["avx9000"]}), 1)


@pytest.mark.integration
def test_another_torch_is_told(copied):
    """Libraries are bound to the version that made them; it is not found out by a crash."""
    with pytest.raises(Stalled, match=r"model\.pt2 was compiled for torch 1\.0, and this image has 2"):
        load_runner(copied(torch="1.0"), 1)


@pytest.mark.integration
def test_a_package_without_its_needs_is_not_loaded(copied):
    """Without model.json nobody knows what it would run on."""
    path = copied()
    path.with_suffix(".json").unlink()
    with pytest.raises(Stalled, match=r"model\.json beside model\.pt2 cannot be read"):
        load_runner(path, 1)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 7), np.float32), r"input 'input': got \[2, 7\], the model takes \['batch', 8\]"),
        (np.zeros((2, 8), np.float64), r"input 'input': got float64, the model takes FP32"),
        (np.zeros((0, 8), np.float32), r"got \[0, 8\]"),
        (np.zeros(8, np.float32), r"got \[8\]"),
    ],
)
def test_what_the_library_would_read_beyond_is_refused(compiled, given, message):
    """Compiled code checks nothing: a short input would be read past its end."""
    with pytest.raises(ValueError, match=message):
        load_runner(compiled[1] / "model.pt2", 1).run(None, {"input": given})


def test_inputs_share_their_free_sizes():
    """Two inputs of one length have to have it."""
    inputs = [{"name": name, "datatype": "INT64", "shape": ["batch", "length"]} for name in ("ids", "mask")]
    feeds = {"ids": np.zeros((2, 5), np.int64), "mask": np.zeros((2, 4), np.int64)}
    with pytest.raises(ValueError, match=r"input 'mask': got \[2, 4\]"):
        engine_torch._require_forms(inputs, feeds)
    engine_torch._require_forms(inputs, feeds | {"mask": feeds["ids"]})


def test_an_image_without_a_compiler_says_so_before_the_run(execute, asked, tmp_path, monkeypatch):
    """Not after an hour of training."""
    monkeypatch.setattr(aotinductor, "COMPILER", "no-such-compiler")
    with pytest.raises(Stalled) as caught:
        execute(asked(tmp_path / "out"))
    assert caught.value.reason == Reason.NOT_SUPPORTED
    assert caught.value.message.startswith(
        "spec.compression.steps[0].compile.engine: AotInductor needs a C++ compiler, and this image has no no-such"
    )


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"quantize": {"scheme": "INT8"}}, "spec.compression.steps[0].quantize: is not done for AotInductor"),
        ({"cluster": {"clusters": 16}}, "spec.compression.steps[0].cluster: is not done for AotInductor"),
    ],
)
def test_what_makes_a_graph_is_refused(execute, asked, tmp_path, step, message):
    """AOTInductor compiles networks."""
    with pytest.raises(Stalled) as caught:
        execute(asked(tmp_path / "out", steps=[step, AOT]))
    assert message in caught.value.message


def test_graphs_are_refused(execute, request_for, a_graph, a_dataset, tmp_path):
    """An ONNX source has no network."""
    data = a_dataset(tmp_path / "data.npz", a_graph(tmp_path / "model.onnx"))
    spec = request_for(
        source={"uri": (tmp_path / "model.onnx").as_uri()},
        compression={"steps": [AOT]},
        guardrail={"dataset": {"uri": data.as_uri()}},
    )
    with pytest.raises(Stalled, match="AotInductor compiles networks, and the source is an ONNX graph"):
        execute(spec)


V3 = ["pni", "ssse3", "sse4_1", "sse4_2", "popcnt", "cx16", "lahf_lm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma"]
V3 += ["abm", "movbe", "xsave"]
V4 = ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]


@pytest.mark.parametrize(
    ("machine", "flags", "name"),
    [
        ("x86_64", [*V3, *V4, "sse"], "x86-64-v4"),
        ("x86_64", [*V3, *V4[1:]], "x86-64-v3"),
        ("aarch64", ["asimd"], "aarch64"),
    ],
)
def test_the_level_is_one_that_cpus_share(machine, flags, name):
    """The highest that the CPU has in full."""
    level = level_of(machine, frozenset(flags))
    assert level.name == name
    assert level.flags <= frozenset(flags)


def test_a_cpu_from_before_avx2_is_told():
    """With what it lacks."""
    with pytest.raises(Stalled, match=r"this CPU lacks avx2, fma; let the Job run on a newer one"):
        level_of("x86_64", frozenset(V3) - {"avx2", "fma"})


def test_a_library_is_never_taken_from_a_checkpoint(tmp_path):
    """Checkpoints are not known by a digest: whoever can write to the store could put code there."""
    (tmp_path / "model.pt2").write_bytes(b"")
    assert compiled_in(tmp_path) is None
    assert is_code(tmp_path / "model.pt2")
    assert not is_code(tmp_path / "model.xml")

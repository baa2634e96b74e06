"""Networks that can be trained: loaded from the customer's code and weights, and exported to ONNX."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.graph import name_by_scope, write_graph
from trimtab.workloads.compress.quieting import quiet_libraries
from trimtab.workloads.compress.sources import WEIGHTS

EXPORT_TOLERANCE = 1e-3  # of logits, relative and absolute: fused normalisation rounds differently


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let a source's modules be imported, and forget them at the end."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]


def load_network(folder: Path, entrypoint: str, uri: str) -> nn.Module:
    """Build the network and load its weights; the folder is importable already.

    Raises:
        Stalled: SourceInvalid, naming the module, function or weights at fault.
    """
    network = _built(folder, entrypoint, uri)
    try:
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise _invalid(f"{uri}: {WEIGHTS} cannot be read ({error}); save it again") from None
    _require_same_keys(network.state_dict(), weights, entrypoint)
    network.load_state_dict(weights)
    return network.float().eval()


def forward(network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Call a network: one input by position, several by the names of its arguments."""
    if len(inputs) == 1:
        answer: Tensor = network(next(iter(inputs.values())))
    else:
        answer = network(**inputs)
    return answer


def tensors_of(samples: Samples) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in samples.inputs.items()}


def examples(samples: Samples, count: int) -> dict[str, Tensor]:
    """Return zeros in the form of some samples: nothing of the data ends up where the example goes."""
    return {
        name: torch.zeros((count, *array.shape[1:]), dtype=torch.from_numpy(array[:1]).dtype)
        for name, array in samples.inputs.items()
    }


def outputs_of(network: nn.Module, samples: Samples, what: str) -> int:
    """Run two samples through a network and return how many numbers it gives for each: 0 for a grid of them.

    Raises:
        Stalled: SourceInvalid, it does not take the samples, or gives no tensor with a row for each.
    """
    two = samples.take(np.minimum(np.arange(2), len(samples) - 1))
    try:
        with torch.inference_mode():
            answer = forward(network, tensors_of(two))
    except Exception as error:
        raise _invalid(
            f"{what}: the network does not take samples of the guardrail's data set, {samples.form()} "
            f"({_first_line(error)}); store them as it expects them"
        ) from error
    if not isinstance(answer, Tensor) or answer.ndim < 1 or len(answer) != 2:
        shape = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise _invalid(f"{what}: for two samples the network gives {shape}; it must give one row for each")
    return int(answer.shape[1]) if answer.ndim == 2 else 0


def export_network(
    network: nn.Module, samples: Samples, path: Path, free: Mapping[str, Sequence[int]] | None = None
) -> None:
    """Write a network as one ONNX file that takes any number of samples, and check that it says the same.

    `samples` gives the form of the inputs; none of its values ends up in the file. `free` names the dimensions of an
    input that take any size besides the first, such as the length of a text; they share one size.

    Raises:
        Stalled: StepFailed, the network cannot be exported, or the export differs.
    """
    network.eval()
    example = examples(samples, 2)
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1)
    dynamic = {name: {0: batch, **dict.fromkeys((free or {}).get(name, ()), length)} for name in example}
    single = len(example) == 1
    try:
        with quiet_libraries():
            program: Any = torch.onnx.export(
                network,
                tuple(example.values()) if single else (),
                kwargs=None if single else example,
                dynamo=True,
                dynamic_shapes=tuple(dynamic.values()) if single else dynamic,
                input_names=["input"] if single else list(example),
                output_names=["output"],
                verbose=False,
            )
    except Exception as error:
        raise Stalled(
            Reason.STEP_FAILED,
            f"export: the network cannot be exported for any batch size ({_first_line(error)}); avoid sizes and "
            "branches that depend on the data",
        ) from error
    model: onnx.ModelProto = program.model_proto
    name_by_scope(model)
    write_graph(model, path)
    _require_parity(network, samples, path)


def _built(folder: Path, entrypoint: str, uri: str) -> nn.Module:
    module_name, _, function = entrypoint.partition(":")
    relative = Path(*module_name.split("."))
    if not (folder / relative.with_suffix(".py")).is_file() and not (folder / relative / "__init__.py").is_file():
        raise _invalid(f"{uri}: {relative}.py does not exist; put it there, or correct spec.source.entrypoint")
    top = module_name.partition(".")[0]
    if top in sys.stdlib_module_names or _installed_elsewhere(top, folder):
        raise _invalid(f"{entrypoint}: a module named {top} is installed already; rename the file")
    try:
        build = getattr(importlib.import_module(module_name), function)
        network = build()
    except AttributeError as error:
        if error.name != function:
            raise _invalid(f"{entrypoint} failed ({_first_line(error)}); run it where you can see it") from error
        raise _invalid(f"{entrypoint}: {relative}.py has no {function}; correct spec.source.entrypoint") from None
    except Exception as error:
        raise _invalid(
            f"{entrypoint} failed ({type(error).__name__}: {_first_line(error)}); run it where you can see it"
        ) from error
    if not isinstance(network, nn.Module):
        raise _invalid(f"{entrypoint} returned {type(network).__name__}; it must return a torch.nn.Module")
    return network


def _installed_elsewhere(name: str, folder: Path) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is None or spec.origin is None or not Path(spec.origin).is_relative_to(folder)


def _require_same_keys(wanted: dict[str, Any], found: dict[str, Any], entrypoint: str) -> None:
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    misfits = [
        f"{key} {list(found[key].shape)} instead of {list(wanted[key].shape)}"
        for key in sorted(wanted.keys() & found.keys())
        if wanted[key].shape != found[key].shape
    ]
    faults = [
        f"{what} {', '.join(keys[:5])}" + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        for what, keys in (("missing", missing), ("not in the network:", unknown), ("of another shape:", misfits))
        if keys
    ]
    if faults:
        raise _invalid(
            f"{WEIGHTS} does not fit {entrypoint}: {'; '.join(faults)}; save the weights of this very network"
        )


def _require_parity(network: nn.Module, samples: Samples, path: Path) -> None:
    from trimtab.workloads.serve.engine import load_runner

    runner = load_runner(path, 1)
    for count in (1, min(len(samples), 7)):
        some = samples.first(count)
        with torch.inference_mode():
            wanted = forward(network, tensors_of(some)).numpy()
        found = runner.run(None, some.feeds([form.name for form in runner.inputs]))[0]
        if not np.allclose(found, wanted, rtol=EXPORT_TOLERANCE, atol=EXPORT_TOLERANCE):
            worst = float(np.abs(np.asarray(found) - wanted).max())
            raise Stalled(
                Reason.STEP_FAILED,
                f"export: for {count} samples the ONNX file differs from the network by up to {worst:.3g}; something "
                "in it does not export faithfully",
            )


def _invalid(what: str) -> Stalled:
    return Stalled(Reason.SOURCE_INVALID, f"spec.source: {what}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

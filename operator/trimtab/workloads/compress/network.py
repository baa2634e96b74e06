"""Networks that can be trained: called, measured and exported to ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.graph import name_by_scope, write_graph
from trimtab.workloads.compress.quieting import quiet_libraries

INPUT, OUTPUT = "input", "output"  # names in exported files, where the network has but one of them
EXPORT_TOLERANCE = 1e-3  # of logits, relative and absolute: fused normalisation rounds differently


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
        raise invalid_source(
            f"{what}: the network does not take samples of the guardrail's data set, {samples.form()} "
            f"({first_line(error)}); store them as it expects them"
        ) from error
    if not isinstance(answer, Tensor) or answer.ndim < 1 or len(answer) != 2:
        shape = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise invalid_source(f"{what}: for two samples the network gives {shape}; it must give one row for each")
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
    form = export_form(samples, free)
    try:
        with quiet_libraries():
            program: Any = torch.onnx.export(
                network,
                form.args,
                kwargs=form.kwargs or None,
                dynamo=True,
                dynamic_shapes=form.dynamic,
                input_names=list(form.inputs),
                output_names=[OUTPUT],
                verbose=False,
            )
    except Exception as error:
        raise not_exported(error) from error
    model: onnx.ModelProto = program.model_proto
    name_by_scope(model)
    write_graph(model, path)
    require_parity(network, samples, path)


class ExportForm(NamedTuple):
    """How a network is called when it is exported."""

    args: tuple[Tensor, ...]
    """Zeros by position: of the only input."""
    kwargs: dict[str, Tensor]
    """Zeros by name: of several inputs."""
    dynamic: Any
    """The dimensions that take any size, as torch.export wants them."""
    inputs: dict[str, tuple[int | str, ...]]
    """Shapes by the exported names; sizes that are free have a name, and equal names mean equal sizes."""


def export_form(samples: Samples, free: Mapping[str, Sequence[int]] | None = None) -> ExportForm:
    """Return how to export for any number of such samples; `free` as in `export_network`."""
    example = examples(samples, 2)
    sizes = {name: torch.export.Dim(name, min=1) for name in ("batch", "length")}
    named = {name: {0: "batch", **dict.fromkeys((free or {}).get(name, ()), "length")} for name in example}
    dynamic = {name: {axis: sizes[size] for axis, size in axes.items()} for name, axes in named.items()}
    shapes = {
        name: tuple(named[name].get(axis, size) for axis, size in enumerate(zeros.shape))
        for name, zeros in example.items()
    }
    if len(example) > 1:
        return ExportForm((), example, dynamic, shapes)
    return ExportForm(tuple(example.values()), {}, tuple(dynamic.values()), {INPUT: shapes.popitem()[1]})


def not_exported(error: Exception) -> Stalled:
    return Stalled(
        Reason.STEP_FAILED,
        f"export: the network cannot be exported for any batch size ({first_line(error)}); avoid sizes and branches "
        "that depend on the data",
    )


def require_parity(network: nn.Module, samples: Samples, path: Path) -> None:
    """Check that a network's file says the same as the network, for one sample and for several.

    Raises:
        Stalled: StepFailed, it does not.
    """
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
                f"export: for {count} samples {path.name} differs from the network by up to {worst:.3g}; something "
                "in it does not export faithfully",
            )


def invalid_source(what: str) -> Stalled:
    return Stalled(Reason.SOURCE_INVALID, f"spec.source: {what}")


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

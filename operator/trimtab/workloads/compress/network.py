"""Networks that can be trained: called, measured and exported to ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.graph import name_by_scope, write_graph
from trimtab.workloads.compress.quieting import quiet_libraries

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
            f"export: the network cannot be exported for any batch size ({first_line(error)}); avoid sizes and "
            "branches that depend on the data",
        ) from error
    model: onnx.ModelProto = program.model_proto
    name_by_scope(model)
    write_graph(model, path)
    _require_parity(network, samples, path)


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


def invalid_source(what: str) -> Stalled:
    return Stalled(Reason.SOURCE_INVALID, f"spec.source: {what}")


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

"""Which steps an engine takes before it: decided before anything is fetched or trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

if TYPE_CHECKING:
    from trimtab.workloads.compress.recipe import PlacedStep

_OF_GRAPHS = ("quantize", "cluster")


def require_aotinductor_takes(compiling: PlacedStep, others: Sequence[PlacedStep], *, source_is_graph: bool) -> None:
    """Refuse what leaves no network for AotInductor to compile.

    Raises:
        Stalled: NotSupported, the source is a graph, or a step makes one of the network.
    """
    if source_is_graph:
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"{compiling.field}.engine: AotInductor compiles networks, and the source is an ONNX graph; compile for "
            "OnnxRuntime or OpenVino, or give the model as Python code, a Hugging Face folder or torch.export",
        )
    for placed in others:
        if placed.step.technique in _OF_GRAPHS:
            raise Stalled(
                Reason.NOT_SUPPORTED,
                f"{placed.field}: is not done for AotInductor, which compiles the network in FP32; compile for "
                "OnnxRuntime or OpenVino, or remove the step",
            )

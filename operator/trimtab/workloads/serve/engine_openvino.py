"""OpenVINO IR (model.xml and model.bin) in OpenVINO's CPU plugin."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino as ov

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.serve.engine import Array, InputForm, first_line

PRECISION = ["trimtab", "precision"]  # of the graph's runtime information: set where it computes in BF16
_BF16 = "BF16"


class OpenVinoRunner:
    """A model in OpenVINO IR; its weights are mapped, so that processes share what the plugin does not repack."""

    def __init__(self, path: Path, threads: int) -> None:
        if not path.with_suffix(".bin").is_file():
            raise Stalled(
                Reason.ARTIFACT_CORRUPT, f"there are no weights beside {path}; the artifact must hold {path.stem}.bin"
            )
        try:
            core = ov.Core()
            core.set_property({"ENABLE_MMAP": True})
            graph = core.read_model(path)
            model = core.compile_model(graph, "CPU", _properties(threads, _precision(core, graph, path)))
        except RuntimeError as error:
            raise Stalled(
                Reason.NOT_SUPPORTED, f"OpenVINO {ov.__version__} cannot load {path.name}: {_blamed(error)}"
            ) from error
        self.inputs = tuple(InputForm(port.any_name, _fixed(port)) for port in model.inputs)
        self.outputs = tuple(port.any_name for port in model.outputs)
        self._ports = {name: index for index, port in enumerate(model.outputs) for name in port.names}
        self._request = model.create_infer_request()
        self._alone = threading.Lock()  # a request is one run's own

    def run(self, outputs: list[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        wanted = [self._ports[name] for name in (self.outputs if outputs is None else outputs)]
        with self._alone:
            # Inputs are read in place; the default copies outputs, which the next run would overwrite.
            try:
                found = self._request.infer(dict(feeds), share_inputs=True)
            except RuntimeError as error:
                raise RuntimeError(_blamed(error)) from error
        return [np.asarray(found[index]) for index in wanted]


def _fixed(port: ov.ConstOutput) -> int | None:
    shape = port.partial_shape
    return None if len(shape) == 0 or shape[0].is_dynamic else shape[0].get_length()


def _precision(core: ov.Core, graph: ov.Model, path: Path) -> str:
    """Return what a model is to compute in: FP32 unless it was made, and judged, for BF16.

    Raises:
        Stalled: NotSupported, it was, and this CPU would emulate it.
    """
    if not graph.has_rt_info(PRECISION):
        return "f32"
    if _BF16 not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"{path.name} computes in BF16, which this CPU would emulate, many times slower: let replicas and Job run "
            "on nodes with AVX512_BF16 or AMX (spec.capacity.pools, spec.compression.job.pool), or use another scheme",
        )
    return "bf16"


def _properties(threads: int, precision: str) -> dict[str, object]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # The default of CPUs that have bf16 gives other numbers than were judged on one that has not.
        "INFERENCE_PRECISION_HINT": precision,
        # Pods share a node's CPUs by time: threads pinned by each of them would all sit on the same first ones.
        "ENABLE_CPU_PINNING": False,
    }


def _blamed(error: RuntimeError) -> str:
    """Return the last line: those before it say where in OpenVINO's source it was thrown."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else first_line(error)

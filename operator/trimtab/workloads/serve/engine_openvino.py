"""OpenVINO IR (model.xml and model.bin) in OpenVINO's plugins for CPUs and NPUs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino as ov

from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.serve.engine import Array, InputForm, first_line

PRECISION = ["trimtab", "precision"]  # of the graph's runtime information: set where it computes in BF16
_BF16 = "BF16"
_PLUGINS = {Device.CPU: "CPU", Device.NPU: "NPU"}
_NPU = {"PERFORMANCE_HINT": "LATENCY"}


class OpenVinoRunner:
    """A model in OpenVINO IR; its weights are mapped, so that processes share what the plugin does not repack.

    NPUs take models of one size only: there, rows run one after another.
    """

    def __init__(self, path: Path, threads: int, device: Device = Device.CPU) -> None:
        if not path.with_suffix(".bin").is_file():
            raise Stalled(
                Reason.ARTIFACT_CORRUPT, f"there are no weights beside {path}; the artifact must hold {path.stem}.bin"
            )
        try:
            core = ov.Core()
            core.set_property({"ENABLE_MMAP": True})
            graph = core.read_model(path)
            self.inputs = tuple(InputForm(port.any_name, _fixed(port)) for port in graph.inputs)
            self._single = device is Device.NPU and any(form.batch is None for form in self.inputs)
            if self._single:
                _one_row(graph, path)
            properties = _properties(threads, _precision(core, graph, path)) if device is Device.CPU else _NPU
            model = core.compile_model(graph, _PLUGINS[device], properties)
        except RuntimeError as error:
            raise Stalled(
                Reason.NOT_SUPPORTED, f"OpenVINO {ov.__version__} cannot load {path.name}: {_blamed(error)}"
            ) from error
        self.outputs = tuple(port.any_name for port in model.outputs)
        self._ports = {name: index for index, port in enumerate(model.outputs) for name in port.names}
        self._request = model.create_infer_request()
        self._alone = threading.Lock()  # a request is one run's own

    def run(self, outputs: list[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        wanted = [self._ports[name] for name in (self.outputs if outputs is None else outputs)]
        if not self._single:
            return self._run(wanted, feeds)
        count = min((len(array) for array in feeds.values()), default=0)
        rows = [self._run(wanted, {name: array[i : i + 1] for name, array in feeds.items()}) for i in range(count)]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    def _run(self, wanted: list[int], feeds: Mapping[str, Array]) -> list[Array]:
        with self._alone:
            # Inputs are read in place; the default copies outputs, which the next run would overwrite.
            try:
                found = self._request.infer(dict(feeds), share_inputs=True)
            except RuntimeError as error:
                raise RuntimeError(_blamed(error)) from error
        return [np.asarray(found[index]) for index in wanted]


def _one_row(graph: ov.Model, path: Path) -> None:
    """Fix a graph to one row.

    Raises:
        Stalled: NotSupported, other sizes are free, too.
    """
    shapes = {port: ov.PartialShape([1, *list(port.partial_shape)[1:]]) for port in graph.inputs}
    for port, shape in shapes.items():
        if shape.is_dynamic:
            raise Stalled(
                Reason.NOT_SUPPORTED,
                f"{path.name}: input '{port.any_name}' takes {port.partial_shape}, and NPUs take fixed sizes only; "
                "export the source with fixed sizes behind the first, or use another compression.target.device",
            )
    graph.reshape(shapes)


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

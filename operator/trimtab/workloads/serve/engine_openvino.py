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
            model = core.compile_model(core.read_model(path), "CPU", _properties(threads))
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


def _properties(threads: int) -> dict[str, object]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # bf16, the default of CPUs that have it, gives other numbers than were judged on one that has not.
        "INFERENCE_PRECISION_HINT": "f32",
        # Pods share a node's CPUs by time: threads pinned by each of them would all sit on the same first ones.
        "ENABLE_CPU_PINNING": False,
    }


def _blamed(error: RuntimeError) -> str:
    """Return the last line: those before it say where in OpenVINO's source it was thrown."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else first_line(error)

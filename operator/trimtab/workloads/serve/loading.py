"""From an artifact to a model that has answered once; blocking, for a thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog

from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.workloads.serve.artifact import CONFIG_FILE, ModelSpec, TensorSpec, read_spec, require_engine
from trimtab.workloads.serve.datatypes import Feeds, Run, zeros
from trimtab.workloads.serve.weights import Mapped, map_weights

if TYPE_CHECKING:
    from trimtab.workloads.serve.engine import Runner

log = structlog.get_logger("trimtab.serve")


class Fetched(NamedTuple):
    """An artifact on this machine's disk, and what it says about its model."""

    folder: Path
    spec: ModelSpec

    @property
    def model(self) -> Path:
        return self.folder / self.spec.file

    @property
    def bytes(self) -> int:
        """Size of the model with its weights."""
        return sum(path.stat().st_size for path in self.folder.glob(f"{self.model.stem}.*"))


def fetched(fetch: Callable[[], Path], engine: Engine = Engine.AUTO) -> Fetched:
    """Fetch an artifact and read what it says; `engine` is the one that it must be for, Auto takes any.

    Raises:
        Stalled: The artifact cannot be served.
        NotYet: It could not be fetched now.
    """
    folder = fetch()
    spec = read_spec(folder)
    require_engine(spec, engine)
    return Fetched(folder, spec)


def load_fetched(
    found: Fetched, threads: int, max_batch: int, device: Device = Device.CPU, mapped: Mapped | None = None
) -> Run:
    """Load a model, from its mapped weights where there are any, and run it with one row and with `max_batch`.

    Raises:
        Stalled: The artifact cannot be served.
    """
    spec = found.spec
    runner = _runner(found, threads, device, mapped)
    _check_names(runner, spec)
    run: Run = partial(runner.run, [tensor.name for tensor in spec.outputs])
    for rows in sorted({1, max_batch if spec.stackable else 1}):
        _warm_up(run, spec, rows)
    return run


def _runner(found: Fetched, threads: int, device: Device, mapped: Mapped | None) -> Runner:
    # The engine takes a quarter of a second to import: probes are answered meanwhile.
    if mapped is not None:
        from trimtab.workloads.serve.engine_onnx import OnnxRunner

        try:
            return OnnxRunner(found.model, threads, device, mapped)
        except Stalled as stalled:  # the file itself has the last word
            log.info("model.not_mapped", error=stalled.message)
    from trimtab.workloads.serve.engine import load_runner

    return load_runner(found.model, threads, device)


def prepare(found: Fetched, device: Device = Device.CPU) -> Mapped | None:
    """Do what the first request need not wait for: return a model's weights mapped, with an engine that is imported.

    None where that gains nothing.
    """
    try:
        mapped = map_weights(found.model, found.bytes, found.spec.engine, device)
    except (OSError, ValueError) as error:
        log.info("model.not_mapped", error=str(error))
        return None
    if mapped is not None:
        from trimtab.workloads.serve import engine_onnx  # noqa: F401
    return mapped


def load_mapped(found: Fetched, mapped: Mapped, threads: int, *, warm_up: bool) -> Run | None:
    """Return a model that reads its weights as it needs them; None where the engine does not take it so.

    It is there many times sooner than one whose weights are repacked for speed, and slower with every batch: something
    to answer with until that one is loaded. A request that waits for it is the better warm-up.
    """
    from trimtab.workloads.serve.engine_onnx import MappedOnnxRunner

    try:
        runner = MappedOnnxRunner(mapped, threads)
        run: Run = partial(runner.run, [tensor.name for tensor in found.spec.outputs])
        if warm_up:
            run({tensor.name: zeros(tensor.datatype, _some_shape(tensor, 1)) for tensor in found.spec.inputs})
    except Exception as error:  # noqa: BLE001 - no base is common to the errors of engines; the real load will tell
        log.info("model.not_mapped", error=str(error).partition("\n")[0])
        return None
    return run


def _check_names(runner: Runner, spec: ModelSpec) -> None:
    for field, ours, theirs in (
        ("inputs", spec.inputs, {form.name for form in runner.inputs}),
        ("outputs", spec.outputs, set(runner.outputs)),
    ):
        for tensor in ours:
            if tensor.name not in theirs:
                raise Stalled(
                    Reason.ARTIFACT_CORRUPT,
                    f"{CONFIG_FILE}: {field} name '{tensor.name}', but {spec.file} has {', '.join(sorted(theirs))}",
                )


def _warm_up(run: Run, spec: ModelSpec, rows: int) -> None:
    """Run once on zeros: the first run allocates memory, and no client should wait for that."""
    feeds: Feeds = {tensor.name: zeros(tensor.datatype, _some_shape(tensor, rows)) for tensor in spec.inputs}
    try:
        run(feeds)
    except Exception as error:
        text = str(error).partition("\n")[0]
        if any(-1 in tensor.shape[1:] for tensor in spec.inputs):
            # Our guess of a free size may be one that the model does not take: images of one pixel.
            log.warning("warmup.skipped", rows=rows, error=text)
            return
        noun = "row" if rows == 1 else "rows"
        raise Stalled(Reason.ARTIFACT_CORRUPT, f"{spec.file} fails on {rows} {noun} of zeros: {text}") from error


def _some_shape(tensor: TensorSpec, rows: int) -> tuple[int, ...]:
    if not tensor.shape:
        return ()
    first, *others = tensor.shape
    return (rows if first == -1 else first, *(1 if size == -1 else size for size in others))

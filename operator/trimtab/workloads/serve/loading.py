"""From an artifact to a model that has answered once; blocking, for a thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog

from trimtab.api.conditions import Reason
from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.workloads.serve.artifact import CONFIG_FILE, ModelSpec, TensorSpec, read_spec, require_engine
from trimtab.workloads.serve.batching import Feeds, Run
from trimtab.workloads.serve.datatypes import zeros

if TYPE_CHECKING:
    from trimtab.workloads.serve.engine import Runner

log = structlog.get_logger("trimtab.serve")


class Loaded(NamedTuple):
    """A model that can be run."""

    spec: ModelSpec
    run: Run


def load(fetch: Callable[[], Path], threads: int, max_batch: int, engine: Engine = Engine.AUTO) -> Loaded:
    """Fetch an artifact, load its model and run it once with one row and once with `max_batch`.

    `engine` is the one that the model must be for; Auto takes what the artifact says.

    Raises:
        Stalled: The artifact cannot be served.
        NotYet: It could not be fetched now.
    """
    # The engine takes a quarter of a second to import: probes are answered meanwhile.
    from trimtab.workloads.serve.engine import load_runner

    folder = fetch()
    spec = read_spec(folder)
    require_engine(spec, engine)
    runner = load_runner(folder / spec.file, threads)
    _check_names(runner, spec)
    run: Run = partial(runner.run, [tensor.name for tensor in spec.outputs])
    for rows in sorted({1, max_batch if spec.stackable else 1}):
        _warm_up(run, spec, rows)
    return Loaded(spec, run)


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

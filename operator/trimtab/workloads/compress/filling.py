"""Whether texts may be filled up, so that those of different length run together: tried out, not taken on trust."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from trimtab.api.compression import Device
from trimtab.workloads.compress.datasets import Array, Samples
from trimtab.workloads.serve.datatypes import Run
from trimtab.workloads.serve.engine import load_runner

MASK = "attention_mask"  # says which tokens count; without it a model cannot tell filling from text
LENGTH = "length"
PAD = 0
TOLERANCE = 1e-3  # of answers, relative and absolute: sums over more zeros round differently
_ROWS = 8

Tensors = dict[str, list[dict[str, Any]]]
log = structlog.get_logger()


def with_filling(tensors: Tensors, model: Path, samples: Samples, threads: int, device: Device) -> Tensors:
    """Return inputs and outputs as config.json has them, with `axes` and `pad` where filling up changes no answer.

    A few samples are cut to half of their length and asked as they are, alone and together, and filled up to the whole
    length again. Filling may change an answer by rounding, or by as much as company of equal length does: where ranges
    are measured as the model runs, every neighbour shifts them.
    """
    if not _are_texts(tensors, samples):
        return tensors
    length = samples.inputs[MASK].shape[1]
    short = _cut(samples, length // 2)
    try:
        runner = load_runner(model, threads, device)
        names = [tensor["name"] for tensor in tensors["outputs"]]
        together, alone, filled = _answers(partial(runner.run, names), short, length)
    except Exception as error:  # noqa: BLE001 - engines' errors have no common base; texts of equal length still batch
        log.info("filling.not_tried", error=str(error).partition("\n")[0])
        return tensors
    outputs = [
        {**tensor, "axes": _axes(one, other, length)}
        for tensor, one, other in zip(tensors["outputs"], together, filled, strict=True)
    ]
    if not (all(map(_grows_with_texts, outputs)) and all(map(_equal, together, alone, filled))):
        log.info("filling.changes_answers", model=model.name)
        return tensors
    return {
        "inputs": [{**tensor, "axes": [None, LENGTH], "pad": PAD} for tensor in tensors["inputs"]],
        "outputs": outputs,
    }


def _are_texts(tensors: Tensors, samples: Samples) -> bool:
    """Whether all inputs are rows of tokens, of any length, and a mask says which of them count."""
    masks = samples.inputs.get(MASK)
    if masks is None or masks.ndim != 2 or masks.shape[1] < 2 or not masks[:, 0].any():
        return False
    named = {tensor["name"] for tensor in tensors["inputs"]} == set(samples.inputs)
    return named and all(tensor["shape"] == [-1, -1] for tensor in tensors["inputs"])


def _cut(samples: Samples, length: int) -> dict[str, Array]:
    """Return the inputs of a few samples whose first tokens count, cut to a length."""
    rows = np.flatnonzero(samples.inputs[MASK][:, 0])[:_ROWS]
    return {name: array[rows, :length] for name, array in samples.inputs.items()}


def _answers(run: Run, short: dict[str, Array], length: int) -> tuple[list[Array], list[Array], list[Array]]:
    """Return the answers to texts together, each on its own, and together and filled up to a length."""
    count, size = short[MASK].shape
    together = run(short)
    each = [run({name: array[row : row + 1] for name, array in short.items()}) for row in range(count)]
    room = [(0, 0), (0, length - size)]
    filled = run({name: np.pad(array, room, constant_values=PAD) for name, array in short.items()})
    return together, [np.concatenate(parts) for parts in zip(*each, strict=True)], filled


def _axes(short: Array, filled: Array, length: int) -> list[str | None]:
    """Return a name for each axis that grew with the texts."""
    return [LENGTH if grown == length != size else None for size, grown in zip(short.shape, filled.shape, strict=True)]


def _grows_with_texts(output: dict[str, Any]) -> bool:
    """Whether every size of an output that is free is that of the texts."""
    sizes = zip(output["shape"][1:], output["axes"][1:], strict=True)
    return all(size != -1 or axis is not None for size, axis in sizes)


def _equal(together: Array, alone: Array, filled: Array) -> bool:
    """Whether filling changed an answer no more than rounding or company does."""
    kept = np.asarray(filled[tuple(slice(size) for size in together.shape)], np.float64)
    if kept.shape != together.shape:
        return False
    by_company = np.abs(together - np.asarray(alone, np.float64)).max()
    allowed = np.maximum(TOLERANCE * (1 + np.abs(together)), by_company)
    return bool((np.abs(kept - together) <= allowed).all())

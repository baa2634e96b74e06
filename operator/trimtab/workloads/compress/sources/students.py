"""Students that users bring: networks of their own, which learn in place of the source."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import nn

from trimtab.api.compression import Source
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import forward, outputs_of, tensors_of
from trimtab.workloads.compress.recipe import PlacedStep
from trimtab.workloads.compress.sources.fetching import FetchedSource, fetch_source
from trimtab.workloads.compress.sources.loading import load_source


def fetch_students(steps: tuple[PlacedStep, ...], allow_code: bool, into: Path) -> dict[str, FetchedSource]:
    """Copy the students that distill steps name; by the step's field.

    Raises:
        Stalled, NotYet: As for a source, with the student's fields. NotSupported, it is a graph, which cannot learn.
    """
    found: dict[str, FetchedSource] = {}
    for placed in steps:
        student = placed.step.distill.student if placed.step.distill else None
        if student is None or student.uri is None:
            continue
        folder = into / str(len(found))
        folder.mkdir(parents=True)
        try:
            fetched = fetch_source(Source(uri=student.uri, entrypoint=student.entrypoint), allow_code, folder)
        except Stalled as error:
            raise _of_student(error, placed.field) from error
        if fetched.is_graph:
            raise Stalled(
                Reason.NOT_SUPPORTED,
                f"{placed.field}.student.uri: {student.uri} holds {fetched.file.name}, a graph, which cannot learn; "
                "give a Hugging Face folder, or Python code with model.safetensors and its entrypoint",
            )
        found[placed.field] = fetched
    return found


def load_students(
    fetched: Mapping[str, FetchedSource], teacher: nn.Module, samples: Samples, owned: ExitStack
) -> dict[str, nn.Module]:
    """Load students; each has to answer in the teacher's form.

    Raises:
        Stalled: SourceInvalid, naming what is wrong.
    """
    loaded = {}
    inputs = tensors_of(samples.first(2))
    for field, source in fetched.items():
        try:
            network = load_source(source, samples, owned).required_network
            outputs_of(network, samples, source.uri)
        except Stalled as error:
            raise _of_student(error, field) from error
        with torch.inference_mode():
            theirs, ours = list(forward(teacher, inputs).shape[1:]), list(forward(network, inputs).shape[1:])
        if theirs != ours:
            raise Stalled(
                Reason.SOURCE_INVALID,
                f"{field}.student.uri: {source.uri} answers with {ours} per sample, the source with {theirs}; give a "
                "student of the same outputs",
            )
        loaded[field] = network
    return loaded


def _of_student(error: Stalled, field: str) -> Stalled:
    """Return what is wrong with a source as what is wrong with a student: its fields have the same names."""
    return Stalled(error.reason, error.message.replace("spec.source", f"{field}.student"))

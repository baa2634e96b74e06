"""Which recipes a search may try: slots in order, each with the steps that may fill it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from trimtab.api.base import ApiModel
from trimtab.api.compression import (
    Cluster,
    Compile,
    CompileEngine,
    Distill,
    Objective,
    Prune,
    PruneMethod,
    Quantize,
    Scheme,
    Search,
    Step,
)
from trimtab.api.quantities import fraction
from trimtab.planning.support import step_refusals
from trimtab.workloads.compress.recipe import PlacedStep

SEARCH_FIELD = "spec.compression.search"
VARIED = (1.0, 0.5, 1.5)
"""A share or a number of clusters is tried as given, at half and at one and a half times."""
_MOST_PRUNED = 0.9
_CLUSTERS = (2, 256)
_LAST = ("quantize", "cluster", "compile")  # what leaves a graph; two of a kind do not go together

# Ours: one line joins a step, and what planning.support refuses leaves by itself. Within a slot the first is tried
# first: what is known to help most.
_PRUNED = (
    Step(prune=Prune(sparsity="50%")),
    Step(prune=Prune(sparsity="75%")),
    Step(prune=Prune(sparsity="25%")),
    Step(prune=Prune(method=PruneMethod.LAYERS, sparsity="50%")),
)
_RECOVERED = (Step(distill=Distill(epochs=20)),)
_QUANTIZED = (
    Step(quantize=Quantize(scheme=Scheme.INT8)),
    Step(quantize=Quantize(scheme=Scheme.INT8_DYNAMIC)),
    Step(quantize=Quantize(scheme=Scheme.HYBRID)),
    Step(quantize=Quantize(scheme=Scheme.FP16)),
)
_STORED_SMALLER = (
    Step(quantize=Quantize(scheme=Scheme.INT4_WEIGHT_ONLY)),
    Step(quantize=Quantize(scheme=Scheme.INT8_WEIGHT_ONLY)),
    Step(cluster=Cluster(clusters=16)),
)
_COMPILED = (Step(compile=Compile(engine=CompileEngine.OPEN_VINO)),)


@dataclass(frozen=True, slots=True)
class Option:
    """A step that may fill a slot, with the field that it came from."""

    step: Step
    field: str

    @property
    def trains(self) -> bool:
        return PlacedStep(self.step, self.field, 0).trains

    @property
    def needs_network(self) -> bool:
        return PlacedStep(self.step, self.field, 0).needs_network


Choice = tuple[int, ...]
"""Per slot: 0 leaves it out, i takes its option i - 1."""
Recipe = tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """Every recipe: one choice per slot."""

    slots: tuple[tuple[Option, ...], ...]
    recovers: bool
    """Whether what prunes has to be followed by what trains, and the other way round; the user's own space is free."""

    def sizes(self) -> tuple[int, ...]:
        """Return the number of choices per slot."""
        return tuple(len(slot) + 1 for slot in self.slots)

    def recipe(self, choice: Choice) -> Recipe | None:
        """Return the steps of a choice; None when they do not go together."""
        steps = tuple(slot[index - 1] for slot, index in zip(self.slots, choice, strict=True) if index)
        return steps if self._fits(steps) else None

    def choices(self) -> Iterator[Choice]:
        """Yield every choice whose steps go together, the one that leaves out everything first."""
        for choice in product(*(range(size) for size in self.sizes())):
            if self.recipe(choice) is not None:
                yield choice

    def trained(self, choice: Choice) -> bool:
        return any(option.trains for option in self.recipe(choice) or ())

    def split(self, choice: Choice) -> tuple[Choice, Choice]:
        """Return the part of a choice that changes the network, and the part that changes its graph."""
        chosen = [slot[i - 1].needs_network if i else False for slot, i in zip(self.slots, choice, strict=True)]
        stem = tuple(index if needs else 0 for index, needs in zip(choice, chosen, strict=True))
        tail = tuple(0 if needs else index for index, needs in zip(choice, chosen, strict=True))
        return stem, tail

    def _fits(self, steps: Recipe) -> bool:
        graph_only = False
        for option in steps:
            if option.needs_network and graph_only:
                return False
            graph_only |= option.step.technique in _LAST
        last = [option.step.technique for option in steps if option.step.technique in _LAST]
        if len(set(last)) < len(last):
            return False
        pruned = any(option.step.prune is not None for option in steps)
        return not self.recovers or pruned == any(option.trains for option in steps)


def merged(stem: Choice, tail: Choice) -> Choice:
    """Return the choice that takes the network's part from one and the graph's from another."""
    return tuple(first or second for first, second in zip(stem, tail, strict=True))


def our_space(objective: Objective, *, trainable: bool) -> Space:
    """Return the recipes that we try: what this version supports, and what this source and its data allow.

    `trainable` says that the source is a network and that there is training data.
    """
    quantized = _STORED_SMALLER + _QUANTIZED if objective is Objective.SIZE else _QUANTIZED + _STORED_SMALLER[:2]
    wanted = [*((_PRUNED, _RECOVERED) if trainable else ()), quantized, _COMPILED]
    slots = (tuple(_ours(step) for step in steps if not step_refusals("", step)) for steps in wanted)
    return Space(tuple(slot for slot in slots if slot), recovers=True)


def users_space(steps: list[Step]) -> Space:
    """Return the recipes of a user's steps: their order, each taken or left out, shares varied by `VARIED`."""
    return Space(tuple(_variants(step, index) for index, step in enumerate(steps)), recovers=False)


def space_steps(search: Search) -> tuple[PlacedStep, ...]:
    """Return the steps of a user's space, whose data sets have to be there before any is tried."""
    return tuple(
        PlacedStep(step, f"{SEARCH_FIELD}.space[{index}].{step.technique}", index)
        for index, step in enumerate(search.space or ())
    )


def _ours(step: Step) -> Option:
    return Option(step, f"{SEARCH_FIELD} ({step.technique})")


def _variants(step: Step, index: int) -> tuple[Option, ...]:
    field = f"{SEARCH_FIELD}.space[{index}].{step.technique}"
    steps = [_varied(step, factor) for factor in VARIED]
    return tuple(Option(varied, field) for at, varied in enumerate(steps) if varied not in steps[:at])


def _varied(step: Step, factor: float) -> Step:
    if step.prune is not None:
        share = min(fraction(step.prune.sparsity) * factor, max(_MOST_PRUNED, fraction(step.prune.sparsity)))
        return _changed(step, "prune", sparsity=_percent(share))
    if step.cluster is not None:
        least, most = _CLUSTERS
        return _changed(step, "cluster", clusters=min(max(round(step.cluster.clusters * factor), least), most))
    student = step.distill.student if step.distill is not None else None
    if student is not None:
        given = {name: getattr(student, name) for name in ("width", "depth") if getattr(student, name) is not None}
        kept = {name: _percent(min(fraction(share) * factor, 1.0)) for name, share in given.items()}
        return _changed(step, "distill", student=student.model_copy(update=kept))
    return step


def shortened(step: Step, share: float) -> Step:
    """Return a training step with a share of its epochs, at least one."""
    for name in ("distill", "finetune"):
        given = getattr(step, name)
        if given is not None and share < 1:
            return _changed(step, name, epochs=max(math.ceil((given.epochs or _EPOCHS[name]) * share), 1))
    return step


_EPOCHS = {"distill": 10, "finetune": 5}  # what api.compression promises where none are given


def _changed(step: Step, name: str, **values: object) -> Step:
    given: ApiModel = getattr(step, name)
    return step.model_copy(update={name: given.model_copy(update=values)})


def _percent(share: float) -> str:
    return f"{share * 100:.4f}".rstrip("0").rstrip(".") + "%"

"""Which recipes a search may try: slots in order, each with the steps that may fill it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
    Student,
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
# first: what is known to help most. Shares in between come in when their neighbours are known.
_PRUNED = (
    Step(prune=Prune(sparsity="50%")),
    Step(prune=Prune(sparsity="75%")),
    Step(prune=Prune(sparsity="25%")),
    Step(prune=Prune(method=PruneMethod.LAYERS, sparsity="50%")),
    Step(prune=Prune(method=PruneMethod.LAYERS, sparsity="33%")),
)
_BETWEEN = (
    Step(prune=Prune(sparsity="62.5%")),
    Step(prune=Prune(sparsity="87.5%")),
    Step(prune=Prune(sparsity="37.5%")),
    Step(prune=Prune(sparsity="12.5%")),
    Step(prune=Prune(method=PruneMethod.LAYERS, sparsity="67%")),
    Step(prune=Prune(method=PruneMethod.LAYERS, sparsity="17%")),
)
_RECOVERED = (
    Step(distill=Distill(epochs=20)),
    Step(distill=Distill(epochs=20, student=Student(width="50%"))),
    Step(distill=Distill(epochs=20, student=Student(depth="50%"))),
)
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


Accepts = Callable[[Recipe], bool]
"""Whether a run of just these steps would not be refused."""


def _anything(recipe: Recipe) -> bool:
    del recipe
    return True


@dataclass(frozen=True, slots=True)
class Space:
    """Every recipe: one choice per slot."""

    slots: tuple[tuple[Option, ...], ...]
    recovers: bool
    """Whether what prunes has to be followed by what trains, and the other way round; the user's own space is free."""
    starters: tuple[Choice, ...] = ()
    """Choices that are worth trying first: our presets."""
    between: frozenset[Step] = frozenset()
    """Steps that are tried only once their neighbours are known."""
    accepts: Accepts = _anything
    _known: dict[Choice, Recipe | None] = field(default_factory=dict, compare=False, repr=False)

    def sizes(self) -> tuple[int, ...]:
        """Return the number of choices per slot."""
        return tuple(len(slot) + 1 for slot in self.slots)

    def recipe(self, choice: Choice) -> Recipe | None:
        """Return the steps of a choice; None when they do not go together."""
        if choice not in self._known:
            steps = tuple(slot[index - 1] for slot, index in zip(self.slots, choice, strict=True) if index)
            self._known[choice] = steps if self._fits(steps) and self.accepts(steps) else None
        return self._known[choice]

    def choices(self) -> Iterator[Choice]:
        """Yield every choice whose steps go together, the one that leaves out everything first."""
        for choice in product(*(range(size) for size in self.sizes())):
            if self.recipe(choice) is not None:
                yield choice

    def count(self, most: int) -> int:
        """Return the number of choices, or `most` when there are more."""
        return sum(1 for _, _ in zip(range(most), self.choices(), strict=False))

    def trained(self, choice: Choice) -> bool:
        return any(option.trains for option in self.recipe(choice) or ())

    def is_between(self, choice: Choice) -> bool:
        return any(option.step in self.between for option in self.recipe(choice) or ())

    def split(self, choice: Choice) -> tuple[Choice, Choice]:
        """Return the part of a choice that changes the network, and the part that changes its graph."""
        chosen = [slot[i - 1].needs_network if i else False for slot, i in zip(self.slots, choice, strict=True)]
        stem = tuple(index if needs else 0 for index, needs in zip(choice, chosen, strict=True))
        tail = tuple(0 if needs else index for index, needs in zip(choice, chosen, strict=True))
        return stem, tail

    def ladder(self, choice: Choice) -> list[Choice]:
        """Return the choices that differ from this one only in how much is taken away, the mildest first."""
        for at, index in enumerate(choice):
            if not index or strength(self.slots[at][index - 1].step) is None:
                continue
            kind = _without_strength(self.slots[at][index - 1].step)
            rungs = {
                other: found
                for other, option in enumerate(self.slots[at], start=1)
                if (found := strength(option.step)) is not None and _without_strength(option.step) == kind
            }
            ordered = [(*choice[:at], other, *choice[at + 1 :]) for other in sorted(rungs, key=lambda o: rungs[o])]
            return [rung for rung in ordered if self.recipe(rung) is not None]
        return [choice]

    def _fits(self, steps: Recipe) -> bool:
        graph_only = False
        for option in steps:
            if option.needs_network and graph_only:
                return False
            graph_only |= option.step.technique in _LAST
        last = [option.step.technique for option in steps if option.step.technique in _LAST]
        if len(set(last)) < len(last):
            return False
        smaller = [option for option in steps if option.step.prune is not None or _has_student(option.step)]
        return not self.recovers or len(smaller) == any(option.trains for option in steps)


def strength(step: Step) -> float | None:
    """Return the share that a step takes away; None where it takes none away."""
    if step.prune is not None:
        return fraction(step.prune.sparsity)
    student = step.distill.student if step.distill is not None else None
    kept = [fraction(share) for share in (student.width, student.depth) if share] if student is not None else []
    return 1 - math.prod(kept) if kept else None


def _without_strength(step: Step) -> str:
    if step.prune is not None:
        return _changed(step, "prune", sparsity="50%").model_dump_json()
    student = step.distill.student if step.distill is not None else None
    if student is None:
        return step.model_dump_json()
    given = {name: "50%" for name in ("width", "depth") if getattr(student, name) is not None}
    return _changed(step, "distill", student=student.model_copy(update=given)).model_dump_json()


def _has_student(step: Step) -> bool:
    return step.distill is not None and step.distill.student is not None


def merged(stem: Choice, tail: Choice) -> Choice:
    """Return the choice that takes the network's part from one and the graph's from another."""
    return tuple(first or second for first, second in zip(stem, tail, strict=True))


def our_space(
    objective: Objective,
    *,
    trainable: bool,
    presets: Sequence[tuple[Step, ...]] = (),
    accepts: Accepts = _anything,
) -> Space:
    """Return the recipes that we try: what this version supports, and what this source and its data allow.

    `trainable` says that the source is a network and that there is training data; `presets` are tried first, and what
    they consist of is combined with the rest.
    """
    quantized = _STORED_SMALLER + _QUANTIZED if objective is Objective.SIZE else _QUANTIZED + _STORED_SMALLER[:2]
    wanted = [*((_PRUNED + _BETWEEN, _RECOVERED) if trainable else ((), ())), quantized, _COMPILED]
    known = [[step for step in steps if not step_refusals("", step)] for steps in wanted]
    starters = []
    for preset in presets:
        places = [_slot_of(step) for step in preset]
        if places != sorted(set(places)) or (not trainable and any(_ours(step).needs_network for step in preset)):
            continue  # has no place in the slots, or cannot be done here
        for at, step in zip(places, preset, strict=True):
            if step not in known[at]:
                known[at].append(step)
        starters.append(dict(zip(places, preset, strict=True)))
    used = [at for at, steps in enumerate(known) if steps]
    choices = [tuple(known[at].index(of[at]) + 1 if at in of else 0 for at in used) for of in starters]
    return Space(
        tuple(tuple(_ours(step) for step in known[at]) for at in used),
        recovers=True,
        starters=tuple(dict.fromkeys(choice for choice in choices if any(choice))),
        between=frozenset(_BETWEEN),
        accepts=accepts,
    )


def _slot_of(step: Step) -> int:
    if step.prune is not None:
        return 0
    if PlacedStep(step, "", 0).trains and step.quantize is None:
        return 1
    return 3 if step.compile is not None else 2


def users_space(steps: list[Step], accepts: Accepts = _anything) -> Space:
    """Return the recipes of a user's steps: their order, each taken or left out, shares varied by `VARIED`."""
    return Space(tuple(_variants(step, index) for index, step in enumerate(steps)), recovers=False, accepts=accepts)


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

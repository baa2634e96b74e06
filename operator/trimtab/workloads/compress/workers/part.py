"""What one pod does of a run: worker 0 everything, the others whatever training needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from trimtab.workloads.compress.checkpoints import Checkpoints, Line
from trimtab.workloads.compress.recipe import PlacedStep
from trimtab.workloads.compress.stopping import GroupEnded, Stop
from trimtab.workloads.compress.workers.group import Alone, Group, Together
from trimtab.workloads.compress.workers.meeting import Meeting
from trimtab.workloads.compress.workers.sharing import SharedCheckpoints

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Part:
    """What a pod carries out, and with whom."""

    steps: tuple[PlacedStep, ...]
    boundaries: Line
    training: Line
    group: Group
    leave: Callable[[Stop], None] = lambda _stop: None
    """Called after the last step."""


def take_part(
    meeting: Meeting, steps: tuple[PlacedStep, ...], boundaries: Checkpoints, training: Checkpoints, scratch: Path
) -> Part | None:
    """Meet the other workers, where a step is left that trains; None for one that is not needed any more.

    All carry out the same steps up to the last one that trains, each by itself: what the steps before a training make
    is the same, and the training begins with worker 0's weights.

    Raises:
        NotYet: The others do not come. Interrupted: The run was asked to end.
    """
    until = 1 + max(index for index, placed in enumerate(steps) if placed.trains)
    if not meeting.member.leads:
        group = meeting.follow()
        if group is None:
            return None
        steps = steps[:until]
    else:
        saved = boundaries.load()
        if saved is not None and len(saved.state["reports"]) >= until:
            meeting.dismiss()
            return Part(steps, boundaries, training, Alone())
        group = meeting.lead()

    def saved_one(state: dict[str, Any]) -> None:
        if len(state["reports"]) == until:
            _dismiss(meeting, group)

    return Part(
        steps,
        SharedCheckpoints(group, boundaries, scratch, saved_one),
        SharedCheckpoints(group, training, scratch),
        group,
        (lambda _stop: None) if group.leads else group.hear,
    )


def _dismiss(meeting: Meeting, group: Together) -> None:
    """Let the others end: what they trained is safe. First for those that start again, then for those that are here."""
    meeting.dismiss()
    try:
        group.tell()
    except GroupEnded as gone:
        log.info("worker.lost", reason=str(gone), needed=False)

"""What a row of a table says about itself, beside its cells."""

from collections.abc import Callable, Mapping

from trimtab.local.objects import Object

RowConditions = Callable[[Object], list[Object]]

_ENDED = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}


def _pod(pod: Object) -> list[Object]:
    """A pod that has ended is Completed, which kubectl may leave out."""
    phase = (pod.get("status") or {}).get("phase")
    if phase not in _ENDED:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _ENDED[phase]}]


def no_conditions(_obj: Object) -> list[Object]:
    return []


ROW_CONDITIONS: Mapping[str, RowConditions] = {"pods": _pod}

"""What a plan can say: a small vocabulary of effects, and the status that goes with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from trimtab.api.names import Key

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Apply:
    """Make the object look like this; what others set on it stays."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Scale:
    """Set the replicas of a Deployment whose template is not ours to write any more."""

    namespace: str
    name: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Annotate:
    """Set annotations on a pod."""

    namespace: str
    pod: str
    annotations: dict[str, str]


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an object and what it owns."""

    api_version: str
    kind: str
    namespace: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the user something, once: an Event on the object."""

    reason: str
    message: str
    dedupe: str
    """Two announcements with the same text here are one."""
    type: Literal["Normal", "Warning"] = "Normal"


Action = Apply | Scale | Annotate | Delete | Announce


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in order, and what to say."""

    key: Key
    actions: tuple[Action, ...] = ()
    status: Manifest = field(default_factory=dict)
    """The whole status, in its JSON form."""
    requeue_after: float | None = None
    """Seconds until the next look, if nothing happens before."""
    rest_seconds: float | None = None
    """The same where time alone changes nothing, and the gateway is listened to meanwhile."""

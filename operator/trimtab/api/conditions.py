"""Conditions and their reasons: the vocabulary of the status, in one place.

Rules (kstatus): `Reconciling` and `Stalled` are present only while True and never together; every condition
carries the generation it speaks of; the transition time moves only with the status.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
AVAILABLE = "Available"
OPTIMIZED = "Optimized"
GUARDRAIL_PASSED = "GuardrailPassed"
ROLLED_OUT = "RolledOut"
CAPACITY_MET = "CapacityMet"

ConditionStatus = Literal["True", "False", "Unknown"]


class Reason:
    """Every reason that a condition or an event of ours can carry."""

    # Progress
    PROGRESSING = "Progressing"  # accepted, nothing decided yet
    RUN_PENDING = "RunPending"  # the Job waits for a node or an image
    RUN_RUNNING = "RunRunning"  # the Job compresses
    RUN_SUCCEEDED = "RunSucceeded"  # an artifact exists
    ROLLING_OUT = "RollingOut"  # replicas of the new revision start
    ROLLED_OUT = "RolledOut"  # all traffic goes to this generation's revision
    SUSPENDED = "Suspended"  # spec.suspend: nothing new starts
    # Bad input: a spec change is needed
    INVALID_SPEC = "InvalidSpec"  # the object does not say one thing
    NOT_SUPPORTED = "NotSupported"  # understood, but this version does not do it
    CODE_NOT_ALLOWED = "CodeNotAllowed"  # the source runs code on load and the platform has not allowed it here
    NO_OUTPUT = "NoOutput"  # nowhere to put artifacts
    NAME_TAKEN = "NameTaken"  # an object that is not ours has the name we need
    API_REFUSED = "ApiRefused"  # the API server refuses what this needs: a quota, a right, a policy
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_INVALID = "SourceInvalid"
    DIGEST_MISMATCH = "DigestMismatch"
    DATASET_NOT_FOUND = "DatasetNotFound"
    DATASET_INVALID = "DatasetInvalid"
    STORE_UNREACHABLE = "StoreUnreachable"
    ACCESS_DENIED = "AccessDenied"
    ARTIFACT_CORRUPT = "ArtifactCorrupt"
    STEP_FAILED = "StepFailed"
    STEP_HAD_NO_EFFECT = "StepHadNoEffect"
    RUN_FAILED = "RunFailed"  # the Job ended without a verdict
    RUN_DEADLINE_EXCEEDED = "RunDeadlineExceeded"
    RUN_OUT_OF_MEMORY = "RunOutOfMemory"  # killed for its memory, or refused more
    DISK_FULL = "DiskFull"  # of the pod's scratch volume, or of the store
    # Guardrail
    GUARDRAIL_PASSED = "GuardrailPassed"
    GUARDRAIL_FAILED = "GuardrailFailed"
    GUARDRAIL_INCONCLUSIVE = "GuardrailInconclusive"
    GUARDRAIL_REPORTED = "GuardrailReported"  # mode Report: missed, served all the same
    GUARDRAIL_DISABLED = "GuardrailDisabled"
    # Serving
    SERVING = "Serving"
    SERVING_ORIGINAL = "ServingOriginal"  # onFail ServeOriginal: the guardrail was missed, the original serves
    ASLEEP = "Asleep"  # scaled to zero: the next request starts a replica
    WAKING = "Waking"  # its first replica starts, and requests wait for it
    NO_REVISION = "NoRevision"  # nothing has been rolled out yet
    NO_ENDPOINTS = "NoEndpoints"  # the gateway has no healthy replica, or is not Ready itself
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    CANARY_FAILED = "CanaryFailed"  # worse than the active revision under the same traffic: rolled back
    ROLLED_BACK = "RolledBack"  # a person decided that the revision that the spec asks for does not serve
    # Capacity
    CAPACITY_MET = "CapacityMet"
    FLOOR_NOT_MET = "FloorNotMet"
    SPOT_SHORT = "SpotShort"
    NO_POOL = "NoPool"
    # Pools
    SHORTAGE = "Shortage"  # the provider has no such machine now
    QUOTA_REACHED = "QuotaReached"  # the account may not have more of them
    LAUNCH_FAILED = "LaunchFailed"  # machines are there to be had, but do not come up
    SLOW_START = "SlowStart"  # launched, but no Ready node in the time that spec.startup.expected says
    LIMIT_REACHED = "LimitReached"  # the pool's or the group's maximum
    GROUP_NOT_FOUND = "GroupNotFound"  # the provider knows no such group
    GROUP_UNFIT = "GroupUnfit"  # it is there, but not such that we may resize it
    PROVIDER_THROTTLED = "ProviderThrottled"  # the provider's API answers too many of us
    PROVIDER_UNREACHABLE = "ProviderUnreachable"
    # Events only
    SCALED = "Scaled"
    CANARY_STEP = "CanaryStep"  # a canary passed a step, or the rest of them was skipped by a person
    ANNOTATION_IGNORED = "AnnotationIgnored"  # an annotation of ours asks for what cannot be done
    SPOT_INTERRUPTED = "SpotInterrupted"
    RUN_STARTED = "RunStarted"
    NODES_ORDERED = "NodesOrdered"
    INTERNAL_ERROR = "InternalError"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in metav1 form."""

    type: str
    status: ConditionStatus
    reason: str
    message: str
    observed_generation: int
    last_transition_time: datetime

    def wire(self) -> dict[str, Any]:
        """Return the JSON form; metav1 bounds a message at 32,768 characters."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message[:32_768],
            "observedGeneration": self.observed_generation,
            "lastTransitionTime": timestamp(self.last_transition_time),
        }

    @classmethod
    def read(cls, body: dict[str, Any]) -> Condition:
        return cls(
            type=body["type"],
            status=body["status"],
            reason=body.get("reason", ""),
            message=body.get("message", ""),
            observed_generation=int(body.get("observedGeneration", 0)),
            last_transition_time=moment(body["lastTransitionTime"]),
        )


def with_condition(conditions: Sequence[Condition], new: Condition) -> tuple[Condition, ...]:
    """Return the conditions with `new` in place; the transition time moves only with the status."""
    old = find(conditions, new.type)
    since = old.last_transition_time if old and old.status == new.status else new.last_transition_time
    others = [c for c in conditions if c.type != new.type]
    return tuple(sorted([*others, replace(new, last_transition_time=since)], key=lambda c: c.type))


def without_condition(conditions: Sequence[Condition], kind: str) -> tuple[Condition, ...]:
    return tuple(c for c in conditions if c.type != kind)


def find(conditions: Sequence[Condition], kind: str) -> Condition | None:
    return next((c for c in conditions if c.type == kind), None)


def timestamp(moment: datetime) -> str:
    """Return RFC 3339 in UTC with whole seconds, as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """Parse an RFC 3339 time."""
    return datetime.fromisoformat(text)

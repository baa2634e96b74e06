"""Which worker of its Job a pod is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.api.conditions import Reason
from trimtab.api.runs import JOB_ENVIRONMENT
from trimtab.errors import Stalled

INDEX_ENVIRONMENT = "JOB_COMPLETION_INDEX"  # Kubernetes sets it in the pods of an Indexed Job
ADDRESS_ENVIRONMENT = "POD_IP"


@dataclass(frozen=True, slots=True)
class Member:
    """One of several workers. Worker 0 leads: it alone writes checkpoints, judges and publishes."""

    index: int
    workers: int
    address: str
    """Of this pod; the others reach it here, and it listens nowhere else."""
    job: str
    """UID of the Job: what another Job left in the store is not for this one."""

    @property
    def leads(self) -> bool:
        return self.index == 0

    def __str__(self) -> str:
        return f"worker {self.index} of {self.workers}"


def member_of(workers: int, environment: Mapping[str, str]) -> Member | None:
    """Return which worker this process is; None where there is only one.

    Raises:
        Stalled: InvalidSpec, several are asked for but the process is not in their Job.
    """
    if workers == 1:
        return None
    names = (INDEX_ENVIRONMENT, ADDRESS_ENVIRONMENT, JOB_ENVIRONMENT)
    index, address, job = (environment.get(name, "") for name in names)
    if not (index.isdigit() and int(index) < workers and address and job):
        raise Stalled(
            Reason.INVALID_SPEC,
            f"spec.compression.workers: {workers} needs the pods of an Indexed Job, with {', '.join(names)} in the "
            "environment; let the operator start the run, or set workers: 1",
        )
    return Member(int(index), workers, address, job)

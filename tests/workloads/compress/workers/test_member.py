import pytest

from trimtab.errors import Stalled
from trimtab.workloads.compress.workers.member import Member, member_of

POD = {"JOB_COMPLETION_INDEX": "1", "POD_IP": "10.0.0.7", "TRIMTAB_JOB": "uid"}


def test_a_pod_knows_which_worker_it_is():
    """From what Kubernetes puts into the environment of an Indexed Job's pods."""
    assert member_of(2, POD) == Member(1, 2, "10.0.0.7", "uid")
    assert not member_of(2, POD).leads
    assert member_of(2, POD | {"JOB_COMPLETION_INDEX": "0"}).leads


def test_one_worker_needs_no_job():
    """A run by hand is one."""
    assert member_of(1, {}) is None


@pytest.mark.parametrize(
    "changes",
    [{"JOB_COMPLETION_INDEX": ""}, {"JOB_COMPLETION_INDEX": "2"}, {"POD_IP": ""}, {"TRIMTAB_JOB": ""}],
)
def test_several_workers_need_their_job(changes):
    """A run by hand has no other pods; the message says what to do."""
    with pytest.raises(Stalled, match=r"spec\.compression\.workers: 2 needs the pods of an Indexed Job.*workers: 1"):
        member_of(2, POD | changes)

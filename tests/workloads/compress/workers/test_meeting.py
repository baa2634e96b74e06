"""Workers find each other through the store, and nobody else."""

import json
import random
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from trimtab.errors import NotYet
from trimtab.workloads.compress.stopping import GroupEnded, Interrupted, Stop
from trimtab.workloads.compress.workers.meeting import Meeting
from trimtab.workloads.compress.workers.member import Member

pytestmark = pytest.mark.integration


@pytest.fixture
def meeting_of(tmp_path):
    """Return a worker's side of one meeting of two."""
    net = f"127.{random.randrange(20, 250)}.{random.randrange(1, 250)}"

    def build(index, *, key="key", wait_s=60.0, stop=None):
        member = Member(index, 2, f"{net}.{index + 1}", "job")
        return Meeting((tmp_path / "meeting").as_uri(), "output", key, member, stop or Stop(), wait_s=wait_s)

    return build


def invitation(tmp_path, **content):
    folder = tmp_path / "meeting"
    folder.mkdir(exist_ok=True)
    (folder / "invitation.json").write_text(json.dumps(content))


def summed(groups):
    """Let two groups of this process add their numbers, 1 and 2."""
    values = [torch.tensor([1.0]), torch.tensor([2.0])]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda pair: pair[0].add(pair[1]), zip(groups, values, strict=True)))
    return [float(value) for value in values]


def test_workers_meet_in_either_order(meeting_of, tmp_path):
    """Who comes first waits; an invitation of a worker 0 that is gone is not followed."""
    with socket.create_server((meeting_of(0).member.address, 0)) as left:
        port = left.getsockname()[1]
    invitation(tmp_path, address=meeting_of(0).member.address, port=port, word="of yesterday")
    with ThreadPoolExecutor() as threads:
        following = threads.submit(meeting_of(1).follow)
        leading = threads.submit(meeting_of(0).lead)
        groups = [leading.result(60), following.result(60)]
    assert [group.leads for group in groups] == [True, False]
    assert summed(groups) == [3.0, 3.0]


def test_a_seat_is_taken_once(meeting_of):
    """A worker that starts again while the old group stands waits for the next invitation."""
    with ThreadPoolExecutor() as threads:
        leading, following = threads.submit(meeting_of(0).lead), threads.submit(meeting_of(1).follow)
        groups = [leading.result(60), following.result(60)]
        with pytest.raises(GroupEnded, match="worker 0 did not let this one in within 1 s"):
            meeting_of(1, wait_s=1).follow()
        again = threads.submit(meeting_of(1).follow)
        new = [meeting_of(0).lead(), again.result(60)]
    assert summed(new) == [3.0, 3.0]
    assert summed(groups) == [3.0, 3.0]


def test_workers_with_other_data_do_not_train_together(meeting_of):
    """Source or data changed between the starts of two workers; worker 0 goes on waiting."""
    stop = Stop()
    with ThreadPoolExecutor() as threads:
        leading = threads.submit(meeting_of(0, stop=stop).lead)
        with pytest.raises(NotYet, match="worker 1 of 2 is to make other, worker 0 key: source or data changed"):
            meeting_of(1, key="other").follow()
        stop.ask()
        with pytest.raises(Interrupted):
            leading.result(60)


@pytest.mark.parametrize(("index", "message"), [(0, "only 1 of 2 workers came"), (1, "worker 0 did not let this one")])
def test_nobody_waits_for_ever(meeting_of, index, message):
    """The message says what to look at; the Job tries again."""
    meeting = meeting_of(index, wait_s=0.6)
    with pytest.raises(GroupEnded, match=rf"spec\.compression\.workers: {message}.* room for 2 pods.*NetworkPolicies"):
        (meeting.lead if index == 0 else meeting.follow)()


def test_who_is_not_needed_ends(meeting_of):
    """A worker that starts after the training is told so."""
    meeting_of(0).dismiss()
    assert meeting_of(1).follow() is None


def test_waiting_ends_with_the_pod(meeting_of):
    """SIGTERM while there is nobody yet."""
    stop = Stop()
    stop.ask()
    with pytest.raises(Interrupted):
        meeting_of(1, stop=stop).follow()

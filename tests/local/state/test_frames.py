"""The form of the state file: whole frames come back, cut or changed ones are told, torn ones are dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.state import frames
from trimtab.local.state.frames import STEP, DamagedError, framed, frames_of, opening, padding

LINES = [b'{"n":%d,"text":"%b"}\n' % (n, b"x" * (n * 37)) for n in range(12)]


def written(lines=LINES):
    data = opening() + b"".join(framed(line) for line in lines)
    return data + bytes(padding(len(data)))


def payloads(data):
    return [frame.payload for frame in frames_of(data)]


def ends(lines=LINES):
    """Where each frame ends."""
    at, found = len(opening()), []
    for line in lines:
        at += len(framed(line))
        found.append(at)
    return found


def test_what_was_written_comes_back():
    """Frames are read in their order, up to the zeros."""
    assert payloads(written()) == LINES
    assert payloads(written([])) == []


@given(st.integers(len(opening()), ends()[-1]))
def test_a_crash_at_any_byte_leaves_whole_frames_only(cut):
    """A write that stopped anywhere leaves the frames before it: nothing of a torn one, and none of the others lost."""
    data = written()
    torn = data[:cut] + bytes(len(data) - cut)
    whole = sum(1 for end in ends() if end <= cut)
    # The last byte of a frame may be all that is missing; a newline is no zero, so it shows.
    assert payloads(torn) == LINES[:whole]


@given(st.integers(0, ends()[-1] - 1), st.integers(1, 255))
def test_a_changed_byte_is_damage(at, difference):
    """Whichever byte of the file changes, it is not read as if nothing had happened."""
    data = bytearray(written())
    data[at] = (data[at] + difference) % 256 or 1
    if data == written():
        data[at] ^= 3
    with pytest.raises(DamagedError, match="at byte"):
        payloads(bytes(data))


@given(st.integers(0, ends()[-1]))
def test_a_cut_file_is_damage(size):
    """A file that ends within or right behind its frames has lost something: room is reserved in steps."""
    with pytest.raises(DamagedError, match="at byte"):
        payloads(written()[:size])


def test_a_crash_while_room_is_reserved_does_no_harm():
    """Odd sizes beyond the room of all frames are what an interrupted reservation leaves."""
    assert payloads(written() + bytes(12_345)) == LINES


def test_a_missing_frame_is_damage():
    """Zeros between frames are no end."""
    data = bytearray(written())
    start, end = ends()[3], ends()[4]
    data[start:end] = bytes(end - start)
    with pytest.raises(DamagedError, match="a frame is missing, but more follows"):
        payloads(bytes(data))


def test_a_torn_frame_that_lacks_sectors_is_dropped():
    """A disk may write the end of a frame before its middle; holes of whole sectors show that."""
    line = b'{"text":"' + b"y" * 4_000 + b'"}\n'
    data = bytearray(written([LINES[0], line]))
    start = ends([LINES[0]])[0]
    hole = (start // 512 + 2) * 512
    data[hole : hole + 512] = bytes(512)
    assert payloads(bytes(data)) == [LINES[0]]


def test_files_of_other_kinds_and_versions_are_refused():
    """The first line tells what it is."""
    with pytest.raises(DamagedError, match="does not begin with 'trimtab-local-state '"):
        payloads(b"SQLite format 3\0" + bytes(STEP))
    newer = written().replace(b"state 1\n", b"state 9\n", 1)
    with pytest.raises(DamagedError, match="its format has version '9', and this release reads version 1"):
        payloads(newer)
    assert frames.VERSION == 1

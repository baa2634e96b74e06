"""State in a file: what was acknowledged is there after a crash, what was not is there whole or not at all."""

import asyncio
import errno
import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.errors import Stalled
from trimtab.local.state import file
from trimtab.local.state.frames import STEP, DamagedError, Frame, framed, opening, padding
from trimtab.local.state.journal import Journal
from trimtab.local.state.records import head, put, removed, replayed
from trimtab.local.statuses import ApiError
from trimtab.local.store import Store
from trimtab.local.watching import Filter


def config_map(name, value):
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"namespace": "default", "name": name}, "data": value}


def content(store):
    return {obj["metadata"]["name"]: obj for obj in store.all("configmaps")}


async def settled(journal):
    """Everything is written and no compaction is on its way."""
    await journal.durable(journal._noted)
    while journal._flushing is not None or journal._compacting is not None:
        await asyncio.gather(*(t for t in (journal._flushing, journal._compacting) if t is not None))


def reopened(path, data):
    """What a cluster finds that starts on these bytes."""
    path.write_bytes(data)
    saved = file.read(path)
    assert saved is not None
    return saved.version, {name: obj for (_, name), obj in saved.objects.get("configmaps", {}).items()}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcdef"), st.text(max_size=40)),
        st.tuples(st.just("remove"), st.sampled_from("abcdef")),
        st.tuples(st.just("acknowledge")),
        st.tuples(st.just("yield")),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(steps=STEPS, torn=st.floats(0, 1), compact_at=st.sampled_from([300, 2_000, 1 << 26]))
def test_a_crash_at_any_moment_loses_nothing_that_was_acknowledged(steps, torn, compact_at):
    """Random writes, a file that ends anywhere behind the last acknowledged: a state that has been, and no older."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_crashed(Path(folder), steps, torn, compact_at))


async def _crashed(folder, steps, torn, compact_at):
    path = folder / file.NAME
    journal = Journal(path, 77, compact_at=compact_at)
    store = Store(journal)
    states = {store.version: {}}
    acknowledged = store.version
    safe = journal._file.end
    for step, *arguments in steps:
        known = content(store)
        if step == "put":
            store.put("configmaps", config_map(arguments[0], {"text": arguments[1]}))
        elif step == "remove" and arguments[0] in known:
            store.remove("configmaps", known[arguments[0]])
        elif step == "acknowledge":
            await settled(journal)
            acknowledged, safe = store.version, journal._file.end
        elif step == "yield":
            await asyncio.sleep(0)
        states[store.version] = content(store)
    if journal._compacting is None and journal._flushing is not None and compact_at == 1 << 26:
        await settled(journal)
    await journal.close()
    data = path.read_bytes()
    end = len(data.rstrip(b"\0"))
    if compact_at == 1 << 26:  # otherwise the file may have been written anew since, and has no torn end
        end = safe + int((end - safe) * torn)
    version, found = reopened(folder / "copy", data[:end] + bytes(len(data) - end))
    assert version >= acknowledged
    assert found == states[version]
    again = Store(Journal(folder / "again", 77), file.read(folder / "copy"))
    assert (again.version, content(again)) == (version, found)
    await again._journal.close()


async def test_versions_go_on_and_older_watches_list_again(tmp_path):
    """After a restart nobody is shown a hole in the history as if nothing had happened."""
    path = tmp_path / file.NAME
    first = Store(Journal(path, 77))
    for number in range(5):
        first.put("configmaps", config_map("a", {"n": str(number)}))
    await first.durable()
    await first._journal.close()
    second = Store(Journal(path, 77), file.read(path))
    assert second.version == first.version
    with pytest.raises(ApiError, match="too old resource version") as refused:
        second.watch("configmaps", Filter(), first.version - 1)
    assert refused.value.status == 410
    watch = second.watch("configmaps", Filter(), first.version)
    assert second.put("configmaps", config_map("b", {}))["metadata"]["resourceVersion"] == str(first.version + 1)
    assert watch.ready().object["metadata"]["name"] == "b"
    await second._journal.close()


async def test_the_file_is_written_anew_when_changes_outweigh_it(tmp_path):
    """A cluster that writes the same objects again and again does not fill the disk."""
    path = tmp_path / file.NAME
    journal = Journal(path, 77, compact_at=200_000)
    store = Store(journal)
    for number in range(3_000):
        store.put("configmaps", config_map(f"m{number % 10}", {"text": "x" * 500}))
        if number % 20 == 0:
            await store.durable()
    await settled(journal)
    assert journal._file.end < 500_000
    await journal.close()
    assert {p.name for p in tmp_path.iterdir()} == {file.NAME}
    saved = file.read(path)
    assert saved is not None
    assert (saved.version, saved.network) == (store.version, 77)
    assert {name: obj for (_, name), obj in saved.objects["configmaps"].items()} == content(store)


async def test_writes_are_grouped(tmp_path, monkeypatch):
    """Many writes of one turn of the loop go to the disk together, or a disk's latency would be every write's."""
    journal = Journal(tmp_path / file.NAME, 77)
    store = Store(journal)
    appended = []
    real = journal._file.append
    monkeypatch.setattr(journal._file, "append", lambda payload: appended.append(payload) or real(payload))
    for number in range(100):
        store.put("configmaps", config_map(f"m{number}", {}))
    await store.durable()
    assert [payload.count(b"\n") for payload in appended] == [100]
    await journal.close()


@pytest.mark.parametrize("writers", [1, 16])
async def test_writers_share_a_slow_disk(tmp_path, monkeypatch, writers):
    """Whoever is answered and writes again comes into the next group, not into the one after it."""
    journal = Journal(tmp_path / file.NAME, 77)
    store = Store(journal)
    groups = []

    def slow(frame):
        groups.append(frame.count(b"\n"))
        time.sleep(0.01)
        return len(frame)

    monkeypatch.setattr(journal._file, "append", slow)

    async def write(writer):
        for number in range(10):
            await asyncio.sleep(0.0003 * writer / writers)  # the way of an answer and the next request
            store.put("configmaps", config_map(f"w{writer}", {"n": str(number)}))
            await store.durable()

    await asyncio.gather(*(write(writer) for writer in range(writers)))
    assert sum(groups) == 10 * writers
    assert len(groups) <= 14
    await journal.close()


async def test_nothing_is_acknowledged_when_the_disk_is_full(tmp_path, monkeypatch):
    """Whoever waits is told what to do, and so is everybody after."""
    journal = Journal(tmp_path / file.NAME, 77)
    store = Store(journal)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal._file, "append", full)
    store.put("configmaps", config_map("a", {}))
    for _ in range(2):
        with pytest.raises(
            ApiError, match=r"state\.log cannot be written: No space left on device; make room"
        ) as error:
            await store.durable()
        assert error.value.status == 500
    await journal.close()


async def test_a_damaged_file_is_named_with_the_remedy(tmp_path):
    """Nobody begins with half of a state, and nothing of the file is touched."""
    path = tmp_path / file.NAME
    store = Store(Journal(path, 77))
    for number in range(20):
        store.put("configmaps", config_map(f"m{number}", {"text": "x" * 50}))
        await store.durable()
    await store._journal.close()
    data = bytearray(path.read_bytes())
    data[len(data.rstrip(b"\0")) // 2] ^= 0x20
    path.write_bytes(data)
    remedy = rf"the state file {path} cannot be used: at byte \d+: .*checksum.*Put a copy.*mv {path} {path}\.damaged"
    with pytest.raises(Stalled, match=remedy):
        file.read(path)
    assert path.read_bytes() == data


def test_a_second_process_is_refused(tmp_path):
    """Two clusters on one file would write over each other."""
    with file.locked(tmp_path), pytest.raises(Stalled, match="in use by another process"), file.locked(tmp_path):
        raise AssertionError("both have it")
    with file.locked(tmp_path):
        assert not (tmp_path / file.NAME).exists()


def test_a_file_that_is_not_there_is_an_empty_state(tmp_path):
    """The first start finds nothing."""
    assert file.read(tmp_path / file.NAME) is None


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "the file has no head"),
        ([head(7, 5, 1)], "1 objects are missing"),
        ([head(7, 5, 0), put("configmaps", b'{"metadata":{"name":"a","resourceVersion":"7"}}')], "version 7 follows 5"),
        ([head(7, 5, 0), removed("configmaps", "", "a", 6)], "does not fit"),
        ([head(7, 5, 0), b"[1]\n"], "does not fit"),
        ([head(7, 5, 0), b"{}\n"], "does not fit: 'remove'"),
    ],
)
def test_lines_that_do_not_add_up_are_damage(lines, problem):
    """A line that is missing or doubled shows by its version."""
    with pytest.raises(DamagedError, match=problem):
        replayed([Frame(line, at) for at, line in enumerate(lines)])


def test_a_snapshot_larger_than_a_frame_comes_back(tmp_path):
    """Objects are written in pieces."""
    objects = [("configmaps", config_map(f"m{n}", {"text": "x" * 100_000})) for n in range(60)]
    fresh = file.StateFile.written(tmp_path / file.NAME, 9, 70, objects)
    fresh.install(tmp_path / file.NAME)
    fresh.close()
    assert (tmp_path / file.NAME).stat().st_size == 2 * STEP
    saved = file.read(tmp_path / file.NAME)
    assert saved is not None
    assert (saved.network, saved.version, len(saved.objects["configmaps"])) == (9, 70, 60)


def test_the_form_is_stable(tmp_path):
    """A file that this release wrote once is read by those to come."""
    line = put("configmaps", b'{"metadata":{"namespace":"d","name":"a","resourceVersion":"6"}}')
    data = opening() + framed(head(7, 5, 0)) + framed(line + removed("configmaps", "d", "a", 7))
    assert data.hex() == FORM
    (tmp_path / "f").write_bytes(data + bytes(padding(len(data))))
    saved = file.read(tmp_path / "f")
    assert saved is not None
    assert (saved.version, saved.network, saved.objects) == (7, 7, {"configmaps": {}})


FORM = (
    "7472696d7461622d6c6f63616c2d737461746520310a"
    "2600000085734045a2dec4207b226e6574776f726b223a372c2276657273696f6e223a352c226f626a65637473223a307d0a"
    "9d000000b237e401330ded0a7b22707574223a22636f6e6669676d617073222c226f626a656374223a7b226d65746164617461223a7b226e"
    "616d657370616365223a2264222c226e616d65223a2261222c227265736f7572636556657273696f6e223a2236227d7d7d0a"
    "7b2272656d6f7665223a22636f6e6669676d617073222c226e616d657370616365223a2264222c226e616d65223a2261222c"
    "2276657273696f6e223a377d0a"
)

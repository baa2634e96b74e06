"""Answers kept for equal questions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trimtab.workloads.serve.cache import CacheRules, Kept, body_key, feeds_key, own_copies


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_answer_used_longest_ago_leaves_first():
    """Being asked for is being used."""
    kept = Kept(CacheRules(2, None), Clock())
    kept.put(b"a", 1, 10)
    kept.put(b"b", 2, 10)
    assert kept.get(b"a") == 1
    kept.put(b"c", 3, 10)
    assert [kept.get(key) for key in (b"a", b"b", b"c")] == [1, None, 3]


def test_answers_grow_old():
    """After its time an answer is asked for again, however often it was used."""
    clock = Clock()
    kept = Kept(CacheRules(2, 5.0), clock)
    kept.put(b"a", 1, 10)
    clock.now = 4.9
    assert kept.get(b"a") == 1
    clock.now = 5.0
    assert kept.get(b"a") is None
    assert (len(kept), kept.bytes) == (0, 0)


def test_large_answers_are_bounded_in_bytes():
    """A number of entries says nothing of their size."""
    kept = Kept(CacheRules(1000, None, max_bytes=1000), Clock())
    kept.put(b"huge", 0, 2000)
    assert len(kept) == 0
    for number in range(10):
        kept.put(b"%d" % number, number, 200)
    assert kept.bytes <= 1000
    assert kept.get(b"9") == 9


headers = st.none() | st.text("0:-wd", max_size=3).map(str.encode)


@given(st.lists(st.tuples(headers, st.text("0:-wd", max_size=4).map(str.encode)), max_size=30))
def test_different_requests_have_different_keys(requests):
    """Also where the bytes of header length and body could run into each other."""
    keys = {}
    for header_length, body in requests:
        assert keys.setdefault(body_key(body, header_length), (header_length, body)) == (header_length, body)


def test_a_long_body_is_never_taken_for_another_one():
    """Its digest has 256 bits, and says so: a short body that looks like it is another question."""
    long = bytes(50_000)
    assert body_key(long, None) != body_key(long[:-1] + b"x", None)
    forged = body_key(long, None).removeprefix(b"-d")
    assert body_key(forged, None) != body_key(long, None)


arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.bool_]),
    hnp.array_shapes(max_dims=3, max_side=3),
)
feeds = st.dictionaries(st.text(max_size=2), arrays, max_size=2)


@given(st.lists(feeds, max_size=12))
def test_different_tensors_have_different_keys(asked):
    """Name, type, shape and every bit count: 0.0 and -0.0 are two questions, and every NaN is itself."""
    seen = {}
    for one in asked:
        exact = tuple((name, str(a.dtype), a.shape, a.tobytes()) for name, a in sorted(one.items()))
        assert seen.setdefault(feeds_key(one), exact) == exact


def test_strings_do_not_run_into_each_other():
    """["ab", ""] is not ["a", "b"]."""
    first, second = (np.array(texts, np.object_) for texts in (["ab", ""], ["a", "b"]))
    assert feeds_key({"x": first}) != feeds_key({"x": second})


def test_a_kept_answer_does_not_hold_its_batch():
    """And nobody can change it."""
    batch = np.ones((64, 10), np.float32)
    (copy,), size = own_copies([batch[3:4]])
    assert copy.base is None
    assert not copy.flags.writeable
    assert size == 40

"""Sentences of different length in one batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import Stalled
from trimtab.workloads.serve.artifact import parse_spec
from trimtab.workloads.serve.padding import group_of, lengths_of
from trimtab.workloads.serve.running import run_together

CONFIG = {
    "inputs": [
        {"name": "ids", "datatype": "INT64", "shape": [-1, -1], "axes": [None, "tokens"], "pad": 0},
        {"name": "mask", "datatype": "INT64", "shape": [-1, -1], "axes": [None, "tokens"], "pad": 0},
    ],
    "outputs": [
        {"name": "tagged", "datatype": "INT64", "shape": [-1, -1, 2], "axes": [None, "tokens", None]},
        {"name": "total", "datatype": "INT64", "shape": [-1]},
    ],
}
SPEC = parse_spec(CONFIG)


class Request:
    """Rows of one length."""

    def __init__(self, rows):
        ids = np.array(rows, np.int64)
        self.feeds = {"ids": ids, "mask": np.ones_like(ids)}
        self.rows = len(rows)


def model(feeds):
    """Tag each token with itself and its double; add up those that the mask leaves."""
    tagged = np.stack([feeds["ids"], 2 * feeds["ids"]], axis=-1)
    return [tagged, (feeds["ids"] * feeds["mask"]).sum(axis=1)]


@given(
    lengths=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_answer_is_the_same_alone_and_in_company(lengths, seed):
    """What was filled up is cut off again, and nobody sees a neighbour's tokens."""
    random = np.random.default_rng(seed)
    requests = [Request(random.integers(1, 99, size)) for size in lengths]
    for request, outcome in zip(requests, run_together(model, requests, 64, SPEC), strict=True):
        for got, alone in zip(outcome, model(request.feeds), strict=True):
            assert got.tolist() == alone.tolist()


def test_only_what_is_of_similar_length_runs_together():
    """Up to the next power of two: at most half of a batch is filling."""
    groups = [group_of(Request([[1] * length]).feeds, SPEC) for length in (1, 2, 3, 4, 5, 8, 9)]
    assert [group[0][0] for group in groups] == [1, 2, 4, 4, 8, 8, 16]


def test_inputs_of_one_request_agree():
    """A mask for other words is a mistake."""
    feeds = {"ids": np.ones((1, 5)), "mask": np.ones((1, 4))}
    with pytest.raises(ValueError, match="input 'mask': expected 5 tokens as in 'ids', got 4"):
        lengths_of(feeds, SPEC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, -1]}]}, "outputs[0].axes"),
        ({"inputs": [CONFIG["inputs"][0], {**CONFIG["inputs"][1], "pad": None}]}, "inputs[1].axes"),
        ({"inputs": [{**CONFIG["inputs"][0], "axes": ["tokens"]}]}, "inputs[0].axes"),
        ({"inputs": [{**CONFIG["inputs"][0], "pad": "x"}]}, "inputs[0].pad"),
    ],
)
def test_what_could_not_be_cut_again_is_refused(changes, message):
    """An output that grows with its input has to say so."""
    with pytest.raises(Stalled) as refused:
        parse_spec({**CONFIG, **changes})
    assert message in refused.value.message

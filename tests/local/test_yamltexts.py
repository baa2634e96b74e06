"""YAML bodies that are small and mean much: refused at once, by a server that goes on."""

import pytest
from steps import steps

from trimtab.local.apiserver.jsontexts import Unreadable
from trimtab.local.apiserver.yamltexts import read_yaml


def nested(step, levels=10):
    """Every level names the one before nine times."""
    lines = ["l0: &l0 {x: 1}" if step.startswith("{") else "l0: &l0 [x]"]
    lines += [f"l{n}: &l{n} " + step.replace("REF", f"*l{n - 1}") for n in range(1, levels)]
    return "\n".join(lines).encode()


BOMBS = {
    "flow": (b"[" * 1_000_000, "exceeded max depth"),
    "flow maps": (b"{a: " * 500_000, "exceeded max depth"),
    "block": (b"- " * 1_000_000, "exceeded max depth"),
    "indented": ("\n".join(" " * n + "a:" for n in range(2_000)).encode(), "exceeded max depth"),
    "laughs": (nested("[" + ",".join(["REF"] * 9) + "]"), "document contains excessive aliasing"),
    "laughs in maps": (nested("{" + ",".join(f"k{n}: REF" for n in range(9)) + "}"), "excessive aliasing"),
    "merges": (nested("{<<: [" + ",".join(["REF"] * 9) + "]}"), "document contains excessive aliasing"),
    "itself": (b"m: &m {a: *m, b: *m}", "exceeded max depth"),
    "itself in a list": (b"m: &m [*m, *m]", "exceeded max depth"),
    "itself merged": (b"m: &m {<<: *m}", "recursion"),
}


@pytest.mark.parametrize(("body", "complaint"), BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_does_no_harm(body, complaint):
    """No body of some megabytes may cost more than its reading, or the process."""

    def read():
        with pytest.raises(Unreadable, match=complaint):
            read_yaml(body)

    steps(read, most=5_000_000)  # merges take two million, and the others thousands


def test_aliases_and_merges_mean_what_they_say():
    """As far as people use them."""
    body = b"a: &a {x: 1, l: &l [1, 2]}\nb: {<<: *a, y: 2}\nc: [*l, *l]\n"
    assert read_yaml(body).value == {
        "a": {"x": 1, "l": [1, 2]},
        "b": {"x": 1, "l": [1, 2], "y": 2},
        "c": [[1, 2], [1, 2]],
    }


def test_wide_documents_are_read():
    """Many brackets and long lines are no depth."""
    found = read_yaml(b"a: [" + b"{b: [1]}, " * 2_000 + b"]\nc: " + b"x" * 5_000).value
    assert (len(found["a"]), len(found["c"])) == (2_000, 5_000)


def test_base_60_is_text():
    """A time of day is no number, and a million digits are not worked out."""
    found = read_yaml(b"a: 22:22\nb: 1:30.5\nc: " + b"1:" * 500_000 + b"1\nd: 5\ne: 2026-01-01T00:00:00Z").value
    assert (found["a"], found["b"], found["d"], found["e"]) == ("22:22", "1:30.5", 5, "2026-01-01T00:00:00Z")
    assert isinstance(found["c"], str)

"""A model is looked at as it was last written, until a watch shows it so or newer."""

from typing import Any

import pytest

from trimtab.api.names import Key
from trimtab.effects.written import Written

KEY = Key("shop", "digits")


def body(version: int, phase: str, uid: str = "u") -> dict[str, Any]:
    return {"metadata": {"name": "digits", "uid": uid, "resourceVersion": str(version)}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (body(9, "old"), "written"),
        (body(10, "shown"), "shown"),
        (body(11, "newer"), "newer"),
        (body(9, "another", uid="v"), "another"),
    ],
    ids=["a watch lags behind", "it shows the write", "it shows what came after", "the name has a new owner"],
)
def test_what_is_newest_counts(seen: dict[str, Any], expected: str) -> None:
    """Versions are compared as numbers: 9 is older than 10."""
    written = Written()
    written.note(KEY, body(10, "written"))
    found = written.newest(KEY, seen)
    assert found is not None
    assert found["status"]["phase"] == expected


def test_what_a_watch_has_shown_is_forgotten() -> None:
    """What it shows later counts, even where that is an older version: of a restored API server."""
    written = Written()
    written.note(KEY, body(10, "written"))
    written.newest(KEY, body(10, "shown"))
    restored = body(3, "restored")
    assert written.newest(KEY, restored) is restored


def test_a_model_that_is_gone_is_gone() -> None:
    """A write does not bring it back."""
    written = Written()
    written.note(KEY, body(10, "written"))
    assert written.newest(KEY, None) is None
    written.forget(KEY)
    older = body(9, "old")
    assert written.newest(KEY, older) is older

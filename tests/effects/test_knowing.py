"""Models at work are read once, and anew as soon as anything about them is another."""

from typing import Any

import pytest

from trimtab.api.names import GATEWAY, Key
from trimtab.effects import knowing
from trimtab.effects.knowing import Known
from trimtab.effects.mirrors import Mirrors
from trimtab.effects.tables import Packed, pack
from trimtab.effects.world import world_of
from trimtab.effects.written import Written

KEY = Key("shop", "digits")


def a_model(version: int = 1, uid: str = "u1", phase: str = "Compressing", **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": KEY.name,
            "namespace": KEY.namespace,
            "uid": uid,
            "generation": 1,
            "resourceVersion": str(version),
            **meta,
        },
        "spec": {"source": {"uri": "s3://models/digits"}, "guardrail": {"mode": "Disabled"}},
        "status": {"summary": {"status": phase}},
    }


class Shown:
    """What watches show, and what is known of it."""

    def __init__(self) -> None:
        self.models: dict[Key, list[Packed]] = {}
        self.namespaced: dict[str, list[Any]] = {}
        self.mirrors = Mirrors()
        self.written = Written()
        world = world_of(self.models, self.namespaced, {}, self.mirrors, ())
        self.known = Known(world, self.written)

    def show(self, *bodies: dict[str, Any]) -> None:
        self.models[KEY] = [Packed(body["metadata"]["uid"], pack(body)) for body in bodies]

    def phase(self) -> str:
        read = self.known.model(KEY)
        assert read is not None
        assert read.status.summary is not None
        return read.status.summary.status


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_a_model_is_read_once(shown: Shown) -> None:
    """And once more after a rest, during which nobody keeps it."""
    shown.show(a_model())
    first = shown.known.model(KEY)
    assert shown.known.model(KEY) is first
    shown.known.rest(KEY)
    assert shown.known.model(KEY) is not first
    assert shown.known.model(KEY) == first


def test_what_is_shown_anew_is_read_anew(shown: Shown) -> None:
    """Be it changed, replaced, leaving or gone."""
    shown.show(a_model())
    assert shown.phase() == "Compressing"
    shown.show(a_model(2, phase="Serving"))
    assert shown.phase() == "Serving"
    shown.show(a_model(2, phase="Serving"), a_model(3, uid="u2", phase="Pending"))
    assert shown.phase() == "Pending"
    shown.show(a_model(4, uid="u2", deletionTimestamp="2026-03-01T12:00:00Z"))
    assert shown.known.model(KEY) is None
    del shown.models[KEY]
    assert shown.known.model(KEY) is None


def test_what_we_wrote_counts_before_a_watch_shows_it(shown: Shown) -> None:
    """Else a decision would be taken twice."""
    shown.show(a_model())
    assert shown.phase() == "Compressing"
    shown.written.note(KEY, a_model(2, phase="Serving"))
    assert shown.phase() == "Serving"
    assert shown.phase() == "Serving"
    shown.show(a_model(3, phase="Sleeping"))
    assert shown.phase() == "Sleeping"


def test_no_more_models_are_kept_than_fit(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands that are at work at once are read each time, as they are packed for want of memory."""
    monkeypatch.setattr(knowing, "_MOST_MODELS", 0)
    shown.show(a_model())
    assert shown.known.model(KEY) is not shown.known.model(KEY)


def test_owners_follow_the_models_and_the_gateway(shown: Shown) -> None:
    """One that is about to go owns nothing more; what the gateway says is read when it changes."""
    shown.namespaced["shop"] = [a_model(), a_model(uid="u2")]
    first = shown.known.owners("shop")
    assert [owner.uid for owner in first] == ["u1", "u2"]
    assert shown.known.owners("shop") is first
    shown.namespaced["shop"] = [a_model(), a_model(uid="u2", deletionTimestamp="2026-03-01T12:00:00Z")]
    assert [owner.uid for owner in shown.known.owners("shop")] == ["u1"]
    assert shown.known.gateway_owners("shop") == frozenset()
    for uids in (["u1"], ["u1", "u2"]):
        references = [{"uid": uid} for uid in uids]
        meta = {"name": GATEWAY, "namespace": "shop", "ownerReferences": references}
        shown.mirrors.named_deployments.put({"metadata": meta, "spec": {}})
        assert shown.known.gateway_owners("shop") == frozenset(uids)
    assert shown.known.gateway_owners("shop") is shown.known.gateway_owners("shop")

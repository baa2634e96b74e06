"""What the page is told of models, and when."""

import pytest

from trimtab.cli.dashboard.card import card


def counts(board, key="default/digits"):
    return [point[1:] for point in board.shown(key)["history"]]


def test_a_card_has_what_a_person_wants_to_see(make):
    """Numbers are numbers there, so that the page can draw them."""
    shown = card(make())
    assert shown["tone"] == "good"
    assert shown["size"] == {"before": 968_038, "after": 70_758}
    assert shown["latency"] == {"before": 0.058, "after": 0.029}
    assert shown["guardrail"]["drop"] == 0.001
    assert shown["cost"] == {"perHour": 0.328, "allOnDemandPerHour": 0.621, "currency": "USD"}
    assert shown["run"] is None


@pytest.mark.parametrize(
    ("conditions", "tone"),
    [
        ((("Ready", "True"),), "good"),
        ((("Ready", "False"),), "busy"),
        ((("Ready", "False"), ("Reconciling", "True")), "busy"),
        ((("Ready", "False"), ("Stalled", "True"), ("Available", "True")), "bad"),
    ],
)
def test_tones(make, conditions, tone):
    """Bad is only what waits for a person."""
    assert card(make(conditions=conditions))["tone"] == tone


def test_what_cannot_be_read_leaves_the_rest_alone(make):
    """A status of another version, and none at all: each is a card that says so."""
    assert "of another version" in card(make(replicas={"desired": "many"}))["message"]
    assert "not read it yet" in card({"metadata": {"namespace": "ml", "name": "new"}})["message"]


def test_history_has_changes_only_and_not_too_many(board, clock, make):
    """What stays the same takes no room; the oldest goes."""
    for clock.now, spot in enumerate([1, 1, 2, 2, 3, 4]):
        board.put(make(spot=spot))
    assert counts(board) == [[4, 1, 2], [4, 1, 3], [4, 1, 4]]
    assert [point[0] for point in board.shown("default/digits")["history"]] == [2, 4, 5]


async def test_a_slow_listener_hears_of_the_newest_once(board, make):
    """All at first; then what changed, many changes as one; then what went."""
    board.put(make("a"))
    with board.listening() as listener:
        changes = listener.changes(heartbeat_s=30)
        assert await anext(changes) == ["default/a"]
        for spot in (4, 5, 6):
            board.put(make("a", spot=spot))
        board.put(make("b"))
        assert await anext(changes) == ["default/a", "default/b"]
        board.drop(make("b"))
        assert await anext(changes) == ["default/b"]
        assert board.shown("default/b") is None
    assert board.listeners == 0


async def test_nothing_new_is_no_news(board, make):
    """The same object again wakes nobody; the heartbeat comes."""
    board.put(make())
    with board.listening() as listener:
        changes = listener.changes(heartbeat_s=0.01)
        assert await anext(changes) == ["default/digits"]
        board.put(make())
        assert await anext(changes) == []

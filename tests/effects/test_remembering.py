"""What thousands of models come to is made anew where something changed, and only there."""

from typing import Any

from trimtab.api.names import Key
from trimtab.effects.fleetview import Wish, wish_of, wishes
from trimtab.effects.remembering import Remembered, stamp
from trimtab.effects.tables import Packed, Table, Unpacked, identity, pack
from trimtab.effects.world import World


def test_an_answer_is_kept_until_its_question_changes() -> None:
    """A table's stamp is part of it."""
    table: Table[Any] = Table(identity, dict)
    kept: Remembered[int] = Remembered()
    made: list[int] = []

    def count() -> int:
        made.append(len(table))
        return made[-1]

    def ask() -> int:
        return kept.ask((stamp(table), "same"), count)

    item = {"metadata": {"name": "a"}, "spec": 1}
    assert (ask(), ask(), made) == (0, 0, [0])
    table.put(item)
    assert (ask(), ask(), made) == (1, 1, [0, 1])
    table.put(item)
    assert (ask(), made) == (1, [0, 1]), "nothing differs"
    table.put({**item, "spec": 2})
    table.drop(("", "a"))
    assert (ask(), made) == (0, [0, 1, 0])


def test_what_tells_nothing_is_asked_each_time() -> None:
    """An index that is no table has no stamp of its own."""
    assert stamp({}) != stamp({})


def test_wishes_are_read_without_unpacking() -> None:
    """They are noted when a model comes."""
    status = {"conditions": [{"type": "Reconciling", "status": "True"}]}
    busy: dict[str, Any] = {"spec": {"capacity": {"pools": ["spot"]}}, "status": status}
    packed = {
        Key("shop", "a"): [Packed("u", b"never read", wish_of(busy))],
        Key("shop", "b"): [Packed("v", pack({}), wish_of({}))],
    }
    fields: dict[str, Any] = {name: {} for name in World.__dataclass_fields__}
    found = wishes(World(**{**fields, "models": Unpacked(packed)}))
    assert found == {Key("shop", "a"): Wish(frozenset({"spot"}), False), Key("shop", "b"): Wish(frozenset(), True)}
    assert wish_of({"status": {"conditions": [{"type": "CapacityMet", "status": "False"}]}}).settled is False

"""JSON as bytes: what travels is what is kept, and known objects are not encoded again."""

import json

from trimtab.local.encodings import Encodings, to_json


def test_json_is_compact_and_in_order():
    """Keys stay as they are, and text is not escaped."""
    assert to_json({"b": 1, "a": ["ü", None, True, 0.5]}) == '{"b":1,"a":["ü",null,true,0.5]}'.encode()


def test_what_the_fast_encoder_refuses_is_encoded_too():
    """Numbers beyond 64 bits and halves of surrogate pairs make no request fail."""
    encodings = Encodings()
    obj = {"n": 1}
    encodings.keep(obj)
    assert to_json({"big": 2**70, "items": [encodings.known(obj)]}) == b'{"big":%d,"items":[{"n":1}]}' % 2**70
    assert json.loads(to_json({"half": "a\ud800b"})) == {"half": "a?b"}


def test_an_object_is_encoded_once():
    """The bytes of current objects and of the most recent others are kept; the object is known by itself."""
    encodings = Encodings()
    obj, other = {"metadata": {"name": "a"}}, {"metadata": {"name": "a"}}
    kept = encodings.keep(obj)
    assert encodings.bytes_of(obj) is kept
    assert to_json({"items": [encodings.known(obj), encodings.known(other)]}) == b'{"items":[%b,%b]}' % (kept, kept)
    encodings.release(obj)
    assert encodings.bytes_of(obj) is kept
    assert encodings.known(obj) is obj


def test_what_was_released_is_forgotten_in_time():
    """Memory holds what is current, and a bounded number of what was."""
    encodings = Encodings()
    for number in range(5_000):
        obj = {"n": number}
        encodings.keep(obj)
        encodings.release(obj)
    assert len(encodings._recent) == 1_024
    assert not encodings._current


def test_large_objects_are_forgotten_sooner():
    """However large they are, what was current takes a bounded room."""
    encodings = Encodings()
    first = {"n": "x" * 1_000_000}
    encodings.keep(first)
    assert encodings.release(first) == 1_000_008
    kept = encodings.bytes_of(first)
    for _ in range(80):
        encodings.bytes_of({"n": "x" * 1_000_000})
    assert encodings.bytes_of(first) is not kept

"""The SPDY codec: what is written is read, and nothing that arrives does harm."""

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.local.apiserver.connecting import spdy
from trimtab.local.apiserver.connecting.channels import parsed
from trimtab.local.apiserver.connecting.commands import outcome, window

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
headers = st.dictionaries(texts.map(str.lower).filter(lambda t: t == t.lower()), texts, max_size=5)


def test_the_dictionary_is_the_protocols():
    """Both sides check its sum before they inflate anything."""
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


@given(st.lists(headers, min_size=1, max_size=4), st.binary(max_size=100), st.integers(1, 50))
def test_frames_survive_the_way(blocks, data, cut):
    """Headers share one compression over the connection, and frames may be cut anywhere."""
    encoder, decoder = spdy.Encoder(), spdy.Decoder()
    sent = b"".join(encoder.syn_stream(2 * n + 1, block) for n, block in enumerate(blocks))
    sent += spdy.data_frame(1, data, fin=True) + spdy.ping_frame(7) + spdy.reset_frame(3)
    frames = [f for at in range(0, len(sent), cut) for f in decoder.feed(sent[at : at + cut])]
    assert [f.headers for f in frames[: len(blocks)]] == blocks
    assert frames[len(blocks) :] == [
        spdy.Frame(0, 1, True, data=data),
        spdy.Frame(spdy.PING, number=7),
        spdy.Frame(spdy.RST_STREAM, 3, number=5),
    ]


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x80\x03\x00\x01\x00\x00\x00", b"\x80\x03\x00\x03\x00\x00\x00\x02"]),
)
def test_anything_may_arrive(data, start):
    """Frames or a protocol error: never another exception."""
    decoder = spdy.Decoder()
    try:
        for frame in decoder.feed(start + data):
            assert frame.stream < 2**31
    except spdy.ProtocolError:
        pass


@given(st.data())
def test_a_damaged_opening_is_refused_or_read(data):
    """One byte of a real frame changed."""
    frame = bytearray(spdy.Encoder().syn_stream(1, {"streamtype": "data", "port": "80", "requestid": "0"}))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(spdy.ProtocolError):
        list(spdy.Decoder().feed(bytes(frame)))


def control(kind, body, version=3):
    return struct.pack(">HHI", 0x8000 | version, kind, len(body)) + body


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        pytest.param(control(1, b"", version=2), "version 2 .* version 3 is spoken", id="version"),
        pytest.param(control(3, b"\0"), "cut short: 1 bytes", id="short"),
        pytest.param(control(1, bytes(10) + b"junk"), "not compressed as it should be", id="junk"),
        pytest.param(struct.pack(">II", 0x80030001, 0xFFFFFF), "16777215 bytes", id="large"),
    ],
)
def test_what_is_no_frame_says_why(frame, words):
    """The message names what was found."""
    with pytest.raises(spdy.ProtocolError, match=words):
        list(spdy.Decoder().feed(frame))


def test_a_header_bomb_is_refused():
    """A few bytes that inflate to megabytes end the connection."""
    deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
    block = deflate.compress(struct.pack(">I", 1) + bytes(10_000_000)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(spdy.ProtocolError, match="more than 65536 bytes"):
        list(spdy.Decoder().feed(control(1, bytes(10) + block)))


@pytest.mark.parametrize(
    ("message", "text", "result"),
    [
        (b"\x00hello", False, (0, b"hello")),
        ("\x00hello", False, (0, b"hello")),
        (b"", False, (-1, b"")),
        ("0aGVsbG8=", True, (0, b"hello")),
        ("0not base64", True, (-1, b"")),
        ("xaGVsbG8=", True, (-1, b"")),
        ("", True, (-1, b"")),
    ],
)
def test_channel_messages(message, text, result):
    """A byte says which channel, or a digit where the content is base64."""
    assert parsed(message, text=text) == result


@pytest.mark.parametrize(
    ("data", "size"),
    [(b'{"Width":80,"Height":24}', (80, 24)), (b"{}", None), (b"[]", None), (b"no", None), (b'{"Width":"x"}', None)],
)
def test_window_sizes(data, size):
    """What makes no sense is no size."""
    assert window(data) == size


def test_outcomes():
    """kubectl and the official client read the exit code from the causes."""
    assert outcome(0) == {"metadata": {}, "status": "Success"}
    assert outcome(3)["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}

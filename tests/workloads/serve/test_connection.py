"""HTTP/1.1 from hostile, slow and impatient clients, without a network."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.workloads.serve.connection import Connection
from trimtab.workloads.serve.exchange import Heads
from trimtab.workloads.serve.limits import Limits

LIMITS = Limits(head_bytes=2000, body_bytes=1000, pipelined=4)
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_HEAD = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKED_HEAD + b"3\r\nfoo\r\n3\r\nbar\r\n0\r\nX-T: 1\r\n\r\n"


class FakeTransport:
    """Keeps what was written."""

    def __init__(self):
        self.written = b""
        self.closing = self.aborted = self.ended = self.paused = False

    def write(self, data):
        assert not self.closing, "written after close"
        assert not self.ended, "written after the end"
        self.written += data

    def close(self):
        self.closing = True

    def abort(self):
        self.closing = self.aborted = True

    def write_eof(self):
        self.ended = True

    def is_closing(self):
        return self.closing

    def get_extra_info(self, name):
        return ("10.0.0.1", 4711) if name == "peername" else None

    def pause_reading(self):
        assert not self.paused
        self.paused = True

    def resume_reading(self):
        self.paused = False


class FakeOwner:
    """Answers everything at once with the body that came, or keeps it when `holds`."""

    def __init__(self, limits=LIMITS, holds=False, room=True, heads=None):
        self.limits = limits
        self.draining = False
        self.heads = Heads() if heads is None else heads
        self.buffered = 0
        self.now = 100.0
        self.seen = []
        self.holds = holds
        self.room = room

    def time(self):
        return self.now

    def handle(self, exchange):
        self.seen.append(exchange)
        if not self.holds:
            exchange.answer(200, bytes(exchange.body))

    def opened(self, connection):
        return self.room

    def closed(self, connection):
        pass

    def claim(self, size):
        fits = self.buffered + size <= self.limits.buffered_bytes
        self.buffered += size if fits else 0
        return fits

    def release(self, size):
        self.buffered -= size


def connected(**settings):
    owner, transport = FakeOwner(**settings), FakeTransport()
    connection = Connection(owner)
    connection.connection_made(transport)
    return owner, transport, connection


def statuses(written):
    """Return the status codes in what was written."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", written)]


@pytest.mark.parametrize(
    ("sent", "bodies"),
    [
        pytest.param(GET, [b""], id="get"),
        pytest.param(POST, [b"hello"], id="content-length"),
        pytest.param(CHUNKED, [b"foobar"], id="chunked with trailer"),
        pytest.param(GET + POST + CHUNKED, [b"", b"hello", b"foobar"], id="pipelined"),
    ],
)
@given(cuts=st.lists(st.integers(0, 400), max_size=12))
def test_requests_arrive_whole_however_they_are_cut(sent, bodies, cuts):
    """Packet borders mean nothing."""
    owner, transport, connection = connected()
    borders = [0, *sorted({cut for cut in cuts if cut < len(sent)}), len(sent)]
    for start, end in itertools.pairwise(borders):
        connection.data_received(sent[start:end])
    assert [bytes(exchange.body) for exchange in owner.seen] == bodies
    assert statuses(transport.written) == [200] * len(bodies)
    assert not transport.closing


@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from([GET, POST[:-3], CHUNKED, b"\r\n", b"0\r\n\r\n"]))))
def test_garbage_is_answered_or_ignored_but_never_raises(pieces):
    """Whatever comes, the connection either goes on or ends with an error."""
    owner, transport, connection = connected()
    for piece in pieces:
        if not transport.closing:
            connection.data_received(piece)
    assert set(statuses(transport.written)) <= {200, 400, 408, 413, 431, 505}
    owner.now += 1000
    connection.check(owner.now)
    owner.now += 1000
    connection.check(owner.now)
    assert transport.closing


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            id="content-length and transfer-encoding",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            400,
            id="transfer-encoding and content-length",
        ),
        pytest.param(POST.replace(b"Host: h", b"Host: h\r\nContent-Length: 6"), 400, id="two lengths"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello", 400, id="signed length"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400, id="odd coding"),
        pytest.param(b"GET / HTTP/1.1\nHost: h\n\n", 400, id="bare line feeds"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\nX: 1\r\n\r\n", 400, id="one bare line feed"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nX: 1\r\n folded\r\n\r\n", 400, id="folded header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400, id="space before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nHost: g\r\n\r\n", 400, id="two hosts"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nX: \x00\r\n\r\n", 400, id="control character"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505, id="HTTP/2 without its preface"),
        pytest.param(b"GET / HTTP/3.0\r\nHost: h\r\n\r\n", 400, id="other version"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413, id="announced too large"),
        pytest.param(
            CHUNKED_HEAD + b"3e9\r\n" + b"x" * 1001,
            413,
            id="too large",
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 2000 + b"\r\n\r\n", 431, id="large header"),
        pytest.param(b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431, id="long target"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 500 + b"Host: h\r\n\r\n", 431, id="many headers"),
    ],
)
def test_what_could_be_smuggled_or_is_too_much_is_refused(sent, status):
    """One error, and the connection ends without reading on."""
    owner, transport, connection = connected()
    connection.data_received(sent)
    connection.data_received(GET)
    assert statuses(transport.written) == [status]
    assert b"connection: close" in transport.written
    assert transport.ended or transport.closing
    assert owner.seen == []


@pytest.mark.parametrize("piece", [b"X", b"X: " + b"y"])
def test_a_head_without_end_is_refused_though_no_header_is_complete(piece):
    """A header that never ends may not fill the memory."""
    _, transport, connection = connected()
    connection.data_received(b"GET / HTTP/1.1\r\n" + piece)
    for _ in range(2200):
        if not transport.ended:
            connection.data_received(b"x")
    assert statuses(transport.written) == [431]


def test_a_refusal_waits_for_the_answers_before_it():
    """Pipelined requests before a bad one are answered first."""
    owner, transport, connection = connected(holds=True)
    connection.data_received(POST + b"garbage\r\n\r\n")
    assert transport.written == b""
    owner.seen[0].answer(200, b"first")
    assert statuses(transport.written) == [200, 400]


def test_answers_keep_the_order_of_requests():
    """An answer that is ready early waits for its turn."""
    owner, transport, connection = connected(holds=True)
    connection.data_received(POST + POST + POST)
    first, second, third = owner.seen
    third.answer(200, b"3")
    second.answer(200, b"2")
    assert transport.written == b""
    first.answer(200, b"1")
    assert [part[-1:] for part in transport.written.split(b"HTTP/1.1 200")[1:]] == [b"1", b"2", b"3"]


def test_a_client_that_pipelines_too_much_is_not_read():
    """Back-pressure: reading stops at the limit and goes on after an answer."""
    owner, transport, connection = connected(holds=True)
    connection.data_received(GET * 4)
    assert transport.paused
    owner.seen[0].answer(200, b"")
    assert not transport.paused


def test_a_client_that_does_not_read_is_not_read_and_then_cut_off():
    """Answers may not pile up for a client that never takes them."""
    owner, transport, connection = connected()
    connection.pause_writing()
    assert transport.paused
    connection.check(owner.now + 29)
    assert not transport.aborted
    connection.check(owner.now + 31)
    assert transport.aborted


def test_reading_goes_on_when_the_client_takes_its_answers():
    """Back-pressure ends with its cause."""
    _, transport, connection = connected()
    connection.pause_writing()
    connection.resume_writing()
    assert not transport.paused


@pytest.mark.parametrize("sent", [b"GET / HT", POST[:-2]])
def test_a_slow_request_gets_408(sent):
    """Ten seconds, and what its bytes need at 64 KiB/s."""
    owner, transport, connection = connected()
    connection.data_received(sent)
    connection.check(owner.now + 9.9)
    assert transport.written == b""
    connection.check(owner.now + 10.1)
    assert statuses(transport.written) == [408]


def test_an_idle_connection_is_closed_without_a_word():
    """A gateway that keeps connections closes its own ones first."""
    owner, transport, connection = connected()
    connection.data_received(GET)
    connection.check(owner.now + 74)
    assert not transport.closing
    connection.check(owner.now + 76)
    assert transport.closing
    assert statuses(transport.written) == [200]


def test_while_draining_the_last_answer_says_close():
    """A client that is told to go may go: everything it sent before is answered."""
    owner, transport, connection = connected(holds=True)
    connection.data_received(POST + POST)
    owner.draining = True
    owner.seen[0].answer(200, b"")
    assert b"connection: close" not in transport.written
    owner.seen[1].answer(200, b"")
    assert transport.written.count(b"connection: close") == 1
    assert transport.closing


def test_while_draining_a_request_that_is_arriving_is_still_answered():
    """The answer before it does not close the connection under it."""
    owner, transport, connection = connected(holds=True)
    connection.data_received(POST + POST[:-2])
    owner.draining = True
    owner.seen[0].answer(200, b"")
    assert not transport.closing
    connection.data_received(POST[-2:])
    owner.seen[1].answer(200, b"")
    assert statuses(transport.written) == [200, 200]
    assert transport.closing


def test_while_draining_idle_connections_go_after_a_second():
    """Not at once: the next request may be on its way."""
    owner, transport, connection = connected()
    connection.data_received(GET)
    owner.draining = True
    connection.check(owner.now + 0.9)
    assert not transport.closing
    connection.check(owner.now + 1.1)
    assert transport.closing


def test_a_client_that_left_is_known_to_be_gone():
    """Whoever computes the answer can see that nobody waits for it."""
    owner, _, connection = connected(holds=True)
    connection.data_received(POST)
    (exchange,) = owner.seen
    assert not exchange.gone
    connection.connection_lost(None)
    assert exchange.gone
    exchange.answer(200, b"for nobody")


@pytest.mark.parametrize(
    ("sent", "closes"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", True, id="asked to close"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", True, id="1.0"),
        pytest.param(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False, id="1.0 keep-alive"),
        pytest.param(GET, False, id="1.1"),
    ],
)
def test_the_connection_lives_as_long_as_its_client_wants(sent, closes):
    """HTTP/1.1 keeps connections, HTTP/1.0 asks for it."""
    _, transport, connection = connected()
    connection.data_received(sent)
    assert transport.closing is closes
    assert (b"connection: keep-alive" in transport.written) is (b"keep-alive" in sent)


def test_a_body_is_invited_once_its_head_is_accepted():
    """curl waits a second for this before it sends a large body."""
    _, transport, connection = connected()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(b"ab")
    assert statuses(transport.written) == [100, 200]


def test_a_body_that_is_too_large_is_refused_instead_of_invited():
    """Nothing of it needs to be sent."""
    _, transport, connection = connected()
    connection.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n")
    assert statuses(transport.written) == [413]


def test_an_offer_to_upgrade_is_answered_as_plain_http():
    """`curl --http2` offers h2c; nobody has to take it."""
    _, transport, connection = connected()
    connection.data_received(
        GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
    )
    assert statuses(transport.written) == [200]


def test_head_gets_the_head_of_get():
    """The length is announced, the body is not sent."""
    owner, transport, connection = connected(holds=True)
    connection.data_received(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    owner.seen[0].answer(200, b"12345")
    assert transport.written.endswith(b"content-length: 5\r\n\r\n")


def test_one_connection_too_many_is_told_so():
    """Better a clear answer than a client that waits."""
    _, transport, _ = connected(room=False)
    assert statuses(transport.written) == [503]
    assert b"too many connections" in transport.written


def test_a_lingering_connection_is_cut_off_in_the_end():
    """After an error the client's bytes are read for two seconds, so that it gets to see the error."""
    owner, transport, connection = connected()
    connection.data_received(b"garbage\r\n\r\n")
    assert not transport.closing
    connection.check(owner.now + 1)
    assert not transport.aborted
    connection.check(owner.now + 3)
    assert transport.aborted


def test_bodies_of_all_connections_together_are_bounded():
    """Who comes when there is no room hears when to come back; an answer makes room again."""
    owner, transport, connection = connected(limits=Limits(body_bytes=1000, buffered_bytes=7), holds=True)
    connection.data_received(POST)
    assert owner.buffered == 5
    connection.data_received(POST)
    owner.seen[0].answer(200, b"")
    assert statuses(transport.written) == [200, 503]
    assert b"retry-after: 1" in transport.written
    connection.connection_lost(None)
    assert owner.buffered == 0


def test_who_asks_is_whom_the_last_proxy_saw():
    """What a client writes into the header itself comes first, and counts for nothing."""
    owner, _, connection = connected(holds=True)
    connection.data_received(GET)
    connection.data_received(GET.replace(b"Host: h", b"Host: h\r\nX-Forwarded-For: 6.6.6.6, 10.1.2.3"))
    assert [exchange.client for exchange in owner.seen] == ["10.0.0.1", b"10.1.2.3"]


def test_an_offer_to_speak_another_protocol_is_answered_in_this_one():
    """And the connection ends: what follows would be in the other one."""
    owner, transport, connection = connected()
    connection.data_received(
        GET.replace(b"Host: h", b"Host: h\r\nConnection: upgrade\r\nUpgrade: h2c") + b"PRI * HTTP/2.0"
    )
    assert statuses(transport.written) == [200]
    assert b"connection: close" in transport.written
    assert transport.ended or transport.closing
    assert len(owner.seen) == 1


class Forgetful(Heads):
    """Has the parser read every head."""

    def learn(self, start, head):
        pass


def told(pieces, heads):
    """Return what two connections, one after the other, hand on and write, for pieces of bytes."""
    found = []
    for _ in range(2):
        owner, transport, connection = connected(heads=heads, limits=Limits(2000, 1000, pipelined=4, buffered_bytes=40))
        for number, piece in enumerate(pieces):
            if not transport.closing and not transport.ended:
                owner.holds = number % 3 == 1
                connection.data_received(piece)
        said = [(one.head.method, one.head.target, one.head.headers, bytes(one.body)) for one in owner.seen]
        written = re.sub(rb"date: [^\r]*\r\n", b"", transport.written)
        found.append((said, written, transport.closing, transport.ended, transport.paused, owner.buffered))
    return found


_PIECES = st.sampled_from(
    [
        *(GET, POST, CHUNKED, CHUNKED_HEAD, GET[:-2], b"\r\n", b"\r", b"\n", b"hello", b"", b"0\r\n\r\n", POST[:-5]),
        *(
            POST[:-1],
            POST + GET,
            POST + b"\r\n",
            b"\r\n" + POST,
            POST.replace(b"5", b"05"),
            POST.replace(b"h\r", b" h\r"),
        ),
        POST.replace(b"hello", GET[:5]),
        POST.replace(b"POST", b"HEAD"),
        POST.replace(b"1.1", b"1.0"),
        POST.replace(b"Host", b"Connection: keep-alive\r\nHost").replace(b"1.1", b"1.0"),
        POST.replace(b"Host", b"Connection: close\r\nHost"),
        POST.replace(b"Host", b"Expect: 100-continue\r\nHost"),
        POST.replace(b"Host", b"Connection: upgrade\r\nUpgrade: h2c\r\nHost"),
        POST.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"),
        POST.replace(b"Content-Length: 5", b"Content-Length: 0"),
        POST.replace(b"\r\n", b"\n"),
        POST.replace(b"Content-Length: 5", b"Content-Length: 5\r\nContent-Length: 5"),
    ]
)


@given(st.lists(_PIECES | st.tuples(_PIECES, st.integers(0, 80)).map(lambda cut: cut[0][: cut[1]]), max_size=8))
@settings(max_examples=300)
def test_a_head_that_is_known_means_what_the_parser_would_say(pieces):
    """What is answered, refused and held back is the same, whether heads are kept or not."""
    assert told(pieces, Heads()) == told(pieces, Forgetful())


@pytest.mark.parametrize("sent", [GET, POST, POST.replace(b"POST", b"HEAD")])
def test_the_parser_reads_a_head_once(sent):
    """The second request is not given to it, and is answered all the same."""
    owner, transport, connection = connected()
    connection.data_received(sent)
    connection._parser = None
    connection.data_received(sent)
    assert statuses(transport.written) == [200, 200]
    assert owner.seen[0].head is owner.seen[1].head
    assert owner.buffered == 0
    assert owner.seen[0].body == owner.seen[1].body


def test_heads_are_forgotten_before_they_fill_the_memory():
    """Clients that put something new into each head gain nothing, and cost nothing."""
    owner, transport, connection = connected()
    for number in range(3000):
        connection.data_received(GET.replace(b"/a", b"/%d" % number))
    assert transport.written.count(b" 200 ") == len(owner.seen) == 3000
    assert len(owner.heads) <= 1024
    connection.data_received(GET.replace(b"/a", b"/" + b"a" * 1000))
    connection.data_received(GET.replace(b"/a", b"/" + b"a" * 1000))
    assert owner.seen[-1].head is not owner.seen[-2].head

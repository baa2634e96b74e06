"""Thousands of requests that mean harm or make no sense, to a real pod: seeded, so that a failure comes back."""

from __future__ import annotations

import asyncio
import json
import random
import re
import struct
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.integration

WEIGHTS = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
SEED = 20260301
CASES = 4000
CONNECTIONS = 8
LIMIT = 200_000
INFER = b"/v2/models/linear/infer"
ANSWER_S = 60.0
GROWTH_BYTES = 120 * 1024 * 1024
# What a client may be told: that it is wrong, or that there is no room; never that the server is.
ALLOWED = {200, 400, 403, 404, 405, 408, 413, 415, 429, 431, 501, 503, 504, 505}


def tensor(**changes):
    return {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3], **changes}


def framed(body, *lines, target=INFER, method=b"POST"):
    head = [method + b" " + target + b" HTTP/1.1", b"Host: h", b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


GOOD_BODY = json.dumps({"inputs": [tensor()]}).encode()
GOOD = framed(GOOD_BODY)


def bad_framing(dice):
    """A head or chunks on which two parsers could disagree."""
    body = GOOD_BODY
    length = b"Content-Length: %d" % len(body)
    chunked = b"Transfer-Encoding: chunked"
    size = b"%x" % len(body)
    whole = size + b"\r\n" + body + b"\r\n0\r\n\r\n"
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    heads = [
        ([length, chunked], whole),
        ([chunked, length], whole),
        ([b"Content-Length: 0", chunked], whole + smuggled),
        ([b"Content-Length: 4", length], body),
        ([length, length], body),
        ([length.replace(b": ", b": +")], body),
        ([b"Content-Length: -1"], body),
        ([b"Content-Length: 0x10"], body),
        ([b"Content-Length: 1 1"], body),
        ([b"Content-Length: 99999999999999999999999"], body),
        ([b"Content-Length: %d, %d" % (len(body), len(body))], body),
        ([length, b" folded: yes"], body),
        ([length, b"X: a", b"\tfolded"], body),
        ([length, b"X: a\0b"], body),
        ([length, b"X\0: a"], body),
        ([length, b"X : a"], body),
        ([length, b": a"], body),
        ([length, b"X: a\nY: b"], body),
        ([length, b"X: a\rY: b"], body),
        ([length, b"Host: other"], body),
        ([b"Transfer-Encoding: xchunked"], whole),
        ([b"Transfer-Encoding: chunked, identity"], whole),
        ([b"Transfer-Encoding: identity", length], body),
        ([b"Transfer-Encoding:\x0bchunked"], whole),
        ([chunked, chunked], whole),
        ([chunked], b"-1\r\n" + body),
        ([chunked], b"fffffffffffffffff\r\n" + body),
        ([chunked], size + b';ext="\r\n"\r\n' + body + b"\r\n0\r\n\r\n"),
        ([chunked], size + b"\n" + body + b"\r\n0\r\n\r\n"),
        ([chunked], size + b"\r\n" + body + b"XX0\r\n\r\n"),
        ([chunked], b"0x" + whole),
        ([chunked], whole.replace(b"0\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n")),
        ([length, *(b"H%d: %b" % (n, b"v" * 100) for n in range(400))], body),
        ([length, b"Expect: 100-continue"], body),
        ([length, b"Connection: upgrade", b"Upgrade: h2c"], body),
    ]
    lines, sent = dice.choice(heads)
    start = dice.choice(
        [b"POST %b HTTP/1.1" % INFER] * 6 + [b"POST %b HTTP/9.9" % INFER, b"P\0ST / HTTP/1.1", b"\x16\x03\x01"]
    )
    host = [] if dice.random() < 0.05 else [b"Host: h"]
    return b"\r\n".join([start, *host, *lines]) + b"\r\n\r\n" + sent, None


SHAPES = [
    *([2**62, 4], [2**63, 3], [2**31, 2**31, 2**31], [-1, 3], [0, 3], [True, 3], [1.0, 3], ["1", 3], [], None, "x"),
    *([1], [3, 1], [1, 3, 1], [[1, 3]], [10**400, 3], [2**32 + 1, 3], [1] * 5000, {}, [1, 3], [2, 3]),
]
DATA = [
    *(None, [], [1, 2], [1, 2, 3, 4], [[1, 2, 3]], [[1], [2], [3]], [[1, [2], 3]], [1, [2, 3]], "abc", {}),
    *([True, 2, 3], [None, 2, 3], ["1", 2, 3], [1e38, 2, 3], [1e39, 1, 1], [10**30, 1, 1], [[]], [[1, 2], [3]]),
    *([0.1, -0.0, 5e-324], [1.5, 2.5, 3.5, 4.5, 5.5, 6.5], list(range(30000))),
]


def bad_meaning(dice):
    """Well framed, and JSON or nearly so."""
    changes = {}
    for field, values in (
        ("shape", SHAPES),
        ("data", DATA),
        ("datatype", ["FP32"] * 4 + ["FP64", "BYTES", "BOOL", "fp32", None, 3, "X" * 1000]),
        ("name", ["x"] * 6 + ["y", None, "", "\0"]),
        ("parameters", [{}, None, [], {"binary_data_size": 5}, {"binary_data_size": -1}, {"binary_data_size": 1e9}]),
    ):
        if dice.random() < 0.4:
            changes[field] = dice.choice(values)
    message = {"inputs": [tensor(**changes)] * dice.choice([1] * 9 + [0, 2])}
    for field, values in (
        ("id", ["a", 3, None, "é" * 9]),
        ("outputs", [[], [{"name": "y"}], [{"name": "z"}], "y", [3], [{"name": "y"}] * 50]),
        ("parameters", [{"timeout": 10**9}, {"timeout": 0}, {"timeout": "x"}, [], {"a": {"b": [1]}}]),
    ):
        if dice.random() < 0.2:
            message[field] = dice.choice(values)
    text = json.dumps(message)
    text = dice.choice([text] * 5 + [re.sub(r"\b3\b", dice.choice(["NaN", "Infinity", "1e999", "-", "03"]), text)])
    if dice.random() < 0.1:
        text = text[:-1] + ', "inputs": ' + json.dumps([tensor(data=[7, 7, 7])]) + "}"
    body = text.encode()
    if dice.random() < 0.15:
        body = bytearray(body)
        for _ in range(dice.randint(1, 4)):
            body[dice.randrange(len(body))] = dice.randrange(256)
        body = bytes(body)
    return framed(body), body


def bad_nesting(dice):
    depth = dice.choice([100, 1000, 5000, 60000])
    opening = dice.choice([b"[", b'{"a":', b'{"inputs":['])
    body = dice.choice(
        [opening * depth, b'{"inputs":[{"name":"x","shape":[1,3],"data":' + b"[" * depth + b"]" * depth + b"}]}"]
    )
    return framed(body[:LIMIT]), None


def bad_binary(dice):
    """Raw tensors that are not where or as long as the header says."""
    raw = struct.pack("<3f", 1, 2, 3)
    size = dice.choice([12, 12, 12, 11, 13, 0, -4, 2**40, 2**63])
    item = {"name": "x", "datatype": "FP32", "shape": dice.choice([[1, 3], [2, 3], [2**62, 3]])}
    header = json.dumps({"inputs": [{**item, "parameters": {"binary_data_size": size}}]}).encode()
    length = dice.choice(
        [len(header)] * 5 + [0, 1, len(header) - 1, len(header) + 1, 10**9, 10**30, -1, "x", "1e3", ""]
    )
    sent = raw[: dice.choice([12, 12, 12, 0, 5, 11])] + dice.choice([b"", b"", b"xx"])
    return framed(header + sent, b"Inference-Header-Content-Length: " + str(length).encode()), None


def bad_size(dice):
    body = b" " * dice.choice([LIMIT, LIMIT + 1, LIMIT * 3])
    if dice.random() < 0.5:
        return framed(body), None
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" % INFER
    step = dice.choice([1000, 50_000])
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n", None


def bad_target(dice):
    targets = [
        *(
            b"/",
            b"/v2/models/linear/versions/9/infer",
            b"/v2/models/../infer",
            b"/v2/models/%00/infer",
            b"/" + b"a" * 40000,
        ),
        *(
            b"http://h" + INFER,
            b"*",
            INFER + b"?a=b",
            INFER + b"/",
            b"/%6c" * 50,
            b"/v2/repository/models/linear/unload",
        ),
        *(b"/v2/repository/index", b"/v2/repository/models//load", b"/v2/models/linear%2Finfer", b"/\xff\xfe"),
    ]
    method = dice.choice([b"POST", b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PUT", b"TRACE"])
    body = b"" if method in {b"GET", b"HEAD"} else GOOD_BODY
    lines = dice.choice([(), (b"Content-Type: text/html",), (b"Request-Timeout: nan",), (b"Request-Timeout: 1e-9",)])
    return framed(body, *lines, target=dice.choice(targets), method=method), None


KINDS = [bad_framing] * 3 + [bad_meaning] * 6 + [bad_binary] * 2 + [bad_nesting, bad_size, bad_target]


class Wire:
    """A connection that is opened anew where the server has ended it."""

    def __init__(self, port):
        self.port = port
        self.reader = self.writer = None

    async def send(self, data):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        self.writer.write(data)

    async def answer(self, request=GOOD, *, head_only=False):
        """Return (status, body), or None where the server ended the connection instead."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._answer(head_only=head_only)
        except TimeoutError:
            raise AssertionError(f"no answer to {request[:500]!r}") from None

    async def _answer(self, *, head_only):
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 100"):
                head = await self.reader.readuntil(b"\r\n\r\n")
            body = b""
            if not head_only:
                body = await self.reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close()
            return None
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), body

    def close(self):
        if self.writer:
            self.writer.close()
        self.writer = None


def checked(status, body, question):
    """An answer is right, an error is one of the protocol's."""
    assert status in ALLOWED
    if status != 200:
        assert isinstance(json.loads(body)["error"], str)
        return
    if question is None:
        return
    inputs = json.loads(question)["inputs"]
    assert len(inputs) == 1
    rows = np.array(inputs[0]["data"], np.float32).reshape(inputs[0]["shape"])
    for output in json.loads(body)["outputs"]:
        found = np.array(output["data"], np.float32).reshape(output["shape"])
        np.testing.assert_allclose(found, rows @ WEIGHTS, rtol=1e-5)


async def attack(wire, dice, count, statuses):
    for _ in range(count):
        request, question = dice.choice(KINDS)(dice)
        head_only = request.startswith(b"HEAD")
        await wire.send(request)
        answer = await wire.answer(request, head_only=head_only)
        if answer is not None:
            statuses[answer[0]] = statuses.get(answer[0], 0) + 1
            if not head_only:
                try:
                    checked(*answer, question)
                except AssertionError as error:
                    raise AssertionError(f"{request[:500]!r} was answered {answer[0]} {answer[1][:300]!r}") from error
        # Whoever comes next on this connection, or on a new one, gets the answer to its own question.
        kept = wire.writer is not None
        if kept and b"Content-Length: 0" not in request:
            await wire.send(GOOD)
            following = await wire.answer(b"after " + request)
            if following is not None and following[0] == 200:
                assert json.loads(following[1])["outputs"][0]["data"] == [4, 5], request[:500]
            else:
                wire.close()  # the rest of the bad request made it end
        if dice.random() < 0.05:
            wire.close()
    wire.close()


def memory(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


async def test_nothing_that_clients_send_makes_a_pod_fail(launch):
    """No error of the server, no hang, no wrong answer, no growth; and it works on meanwhile and afterwards."""
    pod = await (await launch("--max-body-bytes", str(LIMIT), "--cache-entries", "50")).ready()
    before = memory(pod.process.pid)
    slow = [Wire(pod.port) for _ in range(5)]
    for wire in slow:
        await wire.send(GOOD[:40])  # and never goes on
    statuses = {}
    dice = [random.Random(SEED + number) for number in range(CONNECTIONS)]
    await asyncio.gather(*(attack(Wire(pod.port), one, CASES // CONNECTIONS, statuses) for one in dice))
    assert {200, 400, 413, 431} <= set(statuses)
    assert set(statuses) <= ALLOWED
    assert memory(pod.process.pid) - before < GROWTH_BYTES
    last = Wire(pod.port)
    await last.send(GOOD)
    assert json.loads((await last.answer())[1])["outputs"][0]["data"] == [4, 5]
    for wire in (last, *slow):
        wire.close()
    pod.process.terminate()
    assert await pod.ended() == 0
    assert [line for line in pod.lines if line["level"] in {"error", "critical"}] == []

"""Answers kept for equal questions: bounded in number, bytes and age, and exact.

The key is the whole question, or its BLAKE2b digest of 256 bits where it is long, never a hash that two questions
could share.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from trimtab.workloads.serve.datatypes import Array, Feeds, to_bytes

V = TypeVar("V")

LARGEST_KEYED_BYTES = 1024 * 1024  # a digest of more would hold up the loop
_WHOLE_BYTES = 32 * 1024  # to hash and compare them costs a quarter of a digest
_ENTRY_BYTES = 200  # of Python's own, about


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How many answers are kept, for how long (None: until there is no room), and how many bytes they may take."""

    entries: int
    ttl_s: float | None
    max_bytes: int = 64 * 1024 * 1024


class Kept(Generic[V]):
    """The answers used last."""

    def __init__(self, rules: CacheRules, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[V, float, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> V | None:
        found = self._entries.get(key)
        if found is None:
            return None
        value, since, size = found
        if self._rules.ttl_s is not None and self._clock() - since >= self._rules.ttl_s:
            del self._entries[key]
            self.bytes -= size
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: V, size: int) -> None:
        """Keep an answer of about `size` bytes; one that alone is too large is not kept."""
        size += len(key) + _ENTRY_BYTES
        old = self._entries.pop(key, None)
        if old is not None:
            self.bytes -= old[2]
        if size > self._rules.max_bytes:
            return
        self._entries[key] = (value, self._clock(), size)
        self.bytes += size
        while len(self._entries) > self._rules.entries or self.bytes > self._rules.max_bytes:
            _, (_, _, freed) = self._entries.popitem(last=False)
            self.bytes -= freed

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0


def body_key(body: bytes | bytearray, header_length: bytes | None) -> bytes:
    """Return what stands for a request as it was sent."""
    # No two questions may share a key: every part says how long it is, and a digest that it is one.
    prefix = b"-" if header_length is None else b"%d:%b" % (len(header_length), header_length)
    if len(body) <= _WHOLE_BYTES:
        return b"%bw" % prefix + body
    return b"%bd%b" % (prefix, hashlib.blake2b(body, digest_size=32).digest())


def feeds_key(feeds: Feeds) -> bytes:
    """Return what stands for a model's inputs, however they were sent."""
    digest = hashlib.blake2b(digest_size=32)
    for name in sorted(feeds):
        array = feeds[name]
        digest.update(f"{len(name)}:{name}:{array.dtype.str}:{array.shape}:".encode())
        digest.update(to_bytes(array))
    return digest.digest()


def own_copies(outputs: list[Array]) -> tuple[list[Array], int]:
    """Return arrays that do not hold on to the batch that they are a part of, and their bytes."""
    copies = [output.copy() for output in outputs]
    for copy in copies:
        copy.flags.writeable = False
    return copies, sum(copy.nbytes if copy.dtype.kind != "O" else len(to_bytes(copy)) for copy in copies)

"""Ranges of sizes and costs: (least, most) of 64-bit numbers that stay at the top instead of overflowing."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from trimtab.local.schema.cel.syntax import Expr
from trimtab.local.schema.cel.types import Type

UNLIMITED = 2**64 - 1
TRAVERSAL = 0.1  # per character of a string that is read from end to end
REGEX = 0.25  # per character of a regular expression


class Span(NamedTuple):
    """A range of sizes or costs."""

    least: int
    most: int

    def plus(self, other: "Span") -> "Span":
        return Span(min(self.least + other.least, UNLIMITED), min(self.most + other.most, UNLIMITED))

    def times(self, other: "Span") -> "Span":
        return Span(min(self.least * other.least, UNLIMITED), min(self.most * other.most, UNLIMITED))

    def scaled(self, factor: float) -> "Span":
        return Span(_scaled(self.least, factor), _scaled(self.most, factor))

    def union(self, other: "Span") -> "Span":
        return Span(min(self.least, other.least), max(self.most, other.most))


def _scaled(value: int, factor: float) -> int:
    product = math.ceil(float(value) * factor)
    return min(product, UNLIMITED) if product < 2**64 else UNLIMITED


def fixed(value: int) -> Span:
    return Span(value, value)


ONE, NONE = fixed(1), fixed(0)
UNKNOWN = Span(0, UNLIMITED)


@dataclass(frozen=True, slots=True)
class Part:
    """An argument of a call: where its value comes from, its type and its size."""

    expr: Expr | None
    path: tuple[str, ...]
    type: Type
    size: Span | None

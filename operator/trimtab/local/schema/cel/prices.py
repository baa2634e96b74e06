"""What single functions cost."""

import math
from collections.abc import Sequence
from typing import Protocol

from trimtab.local.schema.cel.spans import ONE, REGEX, TRAVERSAL, UNKNOWN, UNLIMITED, Part, Span
from trimtab.local.schema.cel.syntax import Const


class Sizes(Protocol):
    """Knows what the schema says of the values at a path."""

    def declared_size(self, path: tuple[str, ...]) -> Span | None: ...


Priced = tuple[Span, Span | None]
_OVER_LISTS = ("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf")
_OVER_TEXT = ("lowerAscii", "upperAscii", "substring", "trim")
_ADDRESS = Span(4, 16)  # bytes
_ORDERS = ("less", "less_equals", "greater", "greater_equals")
_COMPARISONS = ("equals", "not_equals", *(f"{order}_{kind}" for order in _ORDERS for kind in ("string", "bytes")))


def priced(estimator: Sizes, name: str, form: str, target: Part | None, args: Sequence[Part]) -> Priced:
    """The cost of a call without its arguments, and the size of its result where the call decides that."""
    if target is not None:
        if name in _OVER_LISTS:
            return _over_list(estimator, target), None
        if name in _OVER_TEXT:
            size = _size(estimator, target)
            return size.scaled(TRAVERSAL), size
        match name:
            case "replace" if len(args) >= 2:
                return _replaced(*(_size(estimator, part) for part in (target, args[0], args[1])))
            case "split":
                return _split(_size(estimator, target), args)
            case "join":
                return _joined(estimator, target, args)
            case "find" | "findAll" if args:
                size = _size(estimator, target)
                return _searched(size, _size(estimator, args[0])), Span(0, size.most)
            case "containsIP" | "containsCIDR" if args:
                return _inside(estimator, name, form, args[0]), None
            case "validate" if args:
                return _size(estimator, args[0]).scaled(TRAVERSAL), None
    if name == "url" and len(args) == 1:
        return _size(estimator, args[0]).scaled(TRAVERSAL), None
    if name.startswith("sets.") and len(args) == 2:
        factor = 2 if name == "sets.equivalent" else 1
        product = _size(estimator, args[0]).times(_size(estimator, args[1]))
        return product.scaled(factor).plus(ONE), None
    return _standard(form, target, args)


def _standard(form: str, target: Part | None, args: Sequence[Part]) -> Priced:
    match form:
        case "string_format" if target is not None:
            return _known(target).scaled(TRAVERSAL), None
        case "string_to_bytes":
            size = _known(args[0])
            return size.scaled(TRAVERSAL), Span(size.least, min(size.most * 4, UNLIMITED))
        case "bytes_to_string":
            size = _known(args[0])
            return size.scaled(TRAVERSAL), Span(size.least // 4, size.most)
        case "strings_quote":
            size = _known(args[0])
            return size.scaled(TRAVERSAL), Span(size.least + 2, min(size.most * 2 + 2, UNLIMITED))
        case "starts_with_string" | "ends_with_string":
            return _known(args[0]).scaled(TRAVERSAL), None
        case "in_list":
            return _known(args[1]), None
        case "matches_string" if target is not None:
            return _searched(_known(target), _known(args[0])), None
        case "contains_string" if target is not None:
            return _known(target).scaled(TRAVERSAL).times(_known(args[0]).scaled(TRAVERSAL)), None
    if form in _COMPARISONS:
        smaller = min(_known(args[0]).most, _known(args[1]).most)
        return Span(1 if smaller else 0, smaller).scaled(TRAVERSAL), None
    return ONE, None


def _known(part: Part) -> Span:
    return UNKNOWN if part.size is None else part.size


def _size(estimator: Sizes, part: Part) -> Span:
    if part.size is not None:
        return part.size
    found = estimator.declared_size(part.path)
    return UNKNOWN if found is None else found


def _element(part: Part) -> Part | None:
    if not part.type.params:
        return None
    return Part(None, (*part.path, "@items") if part.path else (), part.type.params[0], None)


def _over_list(estimator: Sizes, target: Part) -> Span:
    size = _size(estimator, target)
    element = _element(target)
    if element is None:
        return size.scaled(TRAVERSAL)
    each = ONE
    if element.type.kind in ("string", "bytes"):
        each = each.plus(_size(estimator, element).scaled(TRAVERSAL))
    return size.times(each)


def _searched(text: Span, pattern: Span) -> Span:
    """A regular expression over a text; an empty one costs as well."""
    return text.plus(ONE).scaled(TRAVERSAL).times(pattern.scaled(REGEX))


def _replaced(text: Span, old: Span, new: Span) -> Priced:
    most_times, most_kept = 0, 0
    if old.least == 0:
        most_times, most_kept = min(text.most + 1, UNLIMITED), text.most
    elif new.most <= old.least:
        most_kept = text.most
    else:
        most_times = math.ceil(text.most / old.least)
    least_times, least_kept = 0, 0
    if old.most == 0:
        least_times, least_kept = min(text.least + 1, UNLIMITED), text.least
    elif old.most <= new.least:
        least_kept = text.least
    else:
        least_times = math.ceil(text.least / old.most)
    size = Span(least_times, most_times).times(new).plus(Span(least_kept, most_kept))
    return text.scaled(2 * TRAVERSAL), size


def _split(text: Span, args: Sequence[Part]) -> Priced:
    most = text.most
    if len(args) > 1 and isinstance(args[1].expr, Const) and isinstance(args[1].expr.value, int):
        limit = args[1].expr.value
        most = limit if limit >= 0 else UNLIMITED
    return text.scaled(2 * TRAVERSAL), Span(0, most)


def _joined(estimator: Sizes, target: Part, args: Sequence[Part]) -> Priced:
    count = _size(estimator, target)
    element = _element(target)
    size = count.times(_size(estimator, element)) if element is not None else Span(0, 0)
    if args:
        gaps = Span(max(count.least - 1, 0), max(count.most - 1, 0))
        size = size.plus(_size(estimator, args[0]).times(gaps))
    return size.scaled(TRAVERSAL), size


def _inside(estimator: Sizes, name: str, form: str, arg: Part) -> Span:
    cost = _ADDRESS.plus(_ADDRESS).scaled(TRAVERSAL)
    if name == "containsCIDR":
        cost = cost.plus(_ADDRESS.scaled(TRAVERSAL)).plus(ONE)
    if form.endswith("_string"):
        cost = cost.plus(_size(estimator, arg).scaled(TRAVERSAL))
    return cost

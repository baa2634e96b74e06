"""What `labelSelector` of a request asks for.

The grammar is that of Kubernetes: requirements with commas between them, each one of KEY, !KEY, KEY=VALUE,
KEY==VALUE, KEY!=VALUE, KEY<NUMBER, KEY>NUMBER, KEY in (VALUES), KEY notin (VALUES). Refusals carry its texts.
"""

import re
from collections.abc import Callable, Mapping

from trimtab.local import statuses
from trimtab.local.names import label_value_problems, qualified_name_problems
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, bad_request

Term = Callable[[Mapping[str, str]], bool]

_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+)")
_SYMBOLS = frozenset(("==", "!=", "=", "!", "(", ")", ",", "<", ">"))
_OPERATORS = ("in", "notin", "=", "==", "!=", "gt", "lt")
_BINARY = frozenset(("in", "notin", "=", "==", "!=", "<", ">"))
_INTEGER = re.compile(r"[+-]?\d+")
_LARGEST = 1 << 63
_END = ""


def label_matcher(selector: str | None) -> Callable[[Object], bool] | None:
    """What a label selector asks for; None when it asks for nothing.

    Raises:
        ApiError: 400 with the parser's message.
    """
    terms = _Parser(selector or "").terms()
    if not terms:
        return None
    if len(terms) == 1:
        only = terms[0]
        return lambda obj: only(obj["metadata"].get("labels") or {})
    return lambda obj: _all_hold(terms, obj["metadata"].get("labels") or {})


def _all_hold(terms: list[Term], labels: Mapping[str, str]) -> bool:
    return all(term(labels) for term in terms)


class _Unparsable(Exception):  # noqa: N818 - what is wrong with a requirement
    pass


class _Parser:
    """Recursive descent over the tokens of a label selector."""

    def __init__(self, text: str) -> None:
        # A NUL ends the text, as it does for the lexer of a real server.
        self._tokens = [m.group(1) for m in _TOKEN.finditer(text.partition("\0")[0])]
        self._at = 0

    def terms(self) -> list[Term]:
        found: list[Term] = []
        if self._peek() == _END:
            return found
        while True:
            if (word := self._peek()) in _SYMBOLS and word != "!":
                raise bad_request(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self._requirement())
            except _Unparsable as error:
                raise bad_request(f"unable to parse requirement: {error}") from None
            if (word := self._next()) == _END:
                return found
            if word != ",":
                raise bad_request(f"found '{word}', expected: ',' or 'end of string'")
            if (after := self._peek()) == _END or (after in _SYMBOLS and after != "!"):
                raise bad_request(f"found '{after}', expected: identifier after ','")

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _requirement(self) -> Term:
        absent = self._peek() == "!"
        if absent:
            self._next()
        key = self._identifier()
        if problems := qualified_name_problems(key):
            raise _Unparsable(statuses.invalid_value("<nil>", quote(key), "; ".join(problems)))
        if absent:
            return lambda labels: key not in labels
        if self._peek() in (_END, ","):
            return lambda labels: key in labels
        operator = self._next()
        if operator not in _BINARY:
            raise _Unparsable(f"found '{operator}', expected: {', '.join(_OPERATORS)}")
        values = self._values() if operator in ("in", "notin") else [self._value()]
        _check(key, operator, values)
        return _term(key, operator, values)

    def _identifier(self) -> str:
        if (word := self._next()) == _END or word in _SYMBOLS:
            raise _Unparsable(f"found '{word}', expected: identifier")
        return word

    def _value(self) -> str:
        return "" if self._peek() in (_END, ",") else self._identifier()

    def _values(self) -> list[str]:
        if (word := self._next()) != "(":
            raise _Unparsable(f"found '{word}' expected: '('")
        word = self._peek()
        if word == ")":
            self._next()
            return [""]
        if word == _END or (word in _SYMBOLS and word != ","):
            raise _Unparsable(f"found '{word}', expected: ',', ')' or identifier")
        return sorted(self._listed())

    def _listed(self) -> set[str]:
        """Values with commas between them, some of which may be empty, up to the closing parenthesis."""
        values: set[str] = set()
        while True:
            word = self._next()
            after = self._peek()
            if word == ",":
                if not values or after in (")", ","):
                    values.add("")
                if after != ")":
                    continue
            elif word == _END or word in _SYMBOLS:
                raise _Unparsable(f"found '{word}', expected: ',', or identifier")
            else:
                values.add(word)
                if after == ",":
                    continue
                if after != ")":
                    raise _Unparsable(f"found '{after}', expected: ',' or ')'")
            self._next()
            return values


def _check(key: str, operator: str, values: list[str]) -> None:
    """Refuse values that no label can have, and bounds that are no numbers."""
    errors: list[FieldError] = []
    if operator in ("<", ">") and not _is_integer(values[0]):
        text = "for 'Gt', 'Lt' operators, the value must be an integer"
        errors.append(statuses.invalid_value("values[0]", quote(values[0]), text))
    for index, value in enumerate(values):
        if problems := label_value_problems(value):
            errors.append(statuses.invalid_value(f"values[{index}][{key}]", quote(value), "; ".join(problems)))
    if errors:
        shown = list(dict.fromkeys(str(error) for error in errors))
        raise _Unparsable(shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]")


def _term(key: str, operator: str, values: list[str]) -> Term:
    match operator:
        case "in" | "=" | "==":
            wanted = frozenset(values)
            return lambda labels: labels.get(key) in wanted
        case "notin" | "!=":
            unwanted = frozenset(values)
            return lambda labels: labels.get(key) not in unwanted
    bound, sign = int(values[0]), 1 if operator == ">" else -1
    return lambda labels: _is_integer(labels.get(key, "")) and sign * int(labels[key]) > sign * bound


def _is_integer(text: str) -> bool:
    """Whether it is a signed 64-bit number."""
    return _INTEGER.fullmatch(text) is not None and text.isascii() and -_LARGEST <= int(text) < _LARGEST

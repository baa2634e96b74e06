"""Regular expressions as Kubernetes reads them (RE2), for Python's engine."""

import re
from collections.abc import Callable
from functools import lru_cache

from trimtab.local.schema.cel.syntax import library

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_CLASS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]")
_REPEATED = re.compile(r"[*+}|?][^()]*\)+[*+{]|\)[*+{?][^()]*\)[*+{]")
_SHORT = 20  # characters that Python's engine gets through however it has to go back
_ESCAPES = {r"\z": r"\Z", r"\C": "(?s:.)"}


class BadPattern(ValueError):  # noqa: N818 - says what the pattern is
    """No regular expression, with the text of Go's parser."""


def python_pattern(pattern: str) -> str:
    """An RE2 pattern for Python, whose `$` would also match before a final newline."""
    out, at, in_class = [], 0, False
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            pair = pattern[at : at + 2]
            out.append(_ESCAPES.get(pair, pair))
            at += 2
            continue
        if in_class and pattern.startswith("[:", at) and (end := pattern.find(":]", at)) > 0:
            name = pattern[at + 2 : end]
            if name in _POSIX:
                out.append(_POSIX[name])
                at = end + 2
                continue
        if character == "[":
            out.append("\\[" if in_class else "[")
            if not in_class:
                in_class = True
                # A bracket right behind the opening one is a member of the class.
                for lead in ("^", "]"):
                    if pattern.startswith(lead, at + 1):
                        out.append("\\]" if lead == "]" else lead)
                        at += 1
        elif character == "]" and in_class:
            in_class = False
            out.append("]")
        else:
            out.append(r"\Z" if character == "$" and not in_class else character)
        at += 1
    return "".join(out)


@lru_cache(4096)
def compiled_pattern(pattern: str) -> re.Pattern[str]:
    """The compiled expression; its classes are ASCII, as in RE2.

    Raises:
        BadPattern: it is none, or one that RE2 has no room for (references, look-around).
    """
    for unsupported in ("(?=", "(?!", "(?<=", "(?<!", "(?>"):
        if (at := pattern.find(unsupported)) >= 0 and not pattern[:at].endswith("\\"):
            raise BadPattern(f"error parsing regexp: invalid or unsupported Perl syntax: `{unsupported[:3]}`")
    try:
        return re.compile(python_pattern(pattern), re.ASCII)
    except (re.error, OverflowError) as error:
        raise BadPattern(f"error parsing regexp: {_problem(pattern, error)}") from None


def _problem(pattern: str, error: Exception) -> str:
    message = str(error)
    rest = pattern[getattr(error, "pos", 0) or 0 :]
    if "unterminated character set" in message:
        return f"missing closing ]: `{rest}`"
    if "unterminated subpattern" in message:
        return f"missing closing ): `{pattern}`"
    if "unbalanced parenthesis" in message:
        return f"unexpected ): `{pattern}`"
    if "nothing to repeat" in message:
        return f"missing argument to repetition operator: `{rest[:1]}`"
    if "multiple repeat" in message:
        return f"invalid nested repetition operator: `{pattern[getattr(error, 'pos', 1) - 1 :][:2]}`"
    if "bad character range" in message:
        return f"invalid character class range: `{message.rpartition('range ')[2].partition(' at')[0]}`"
    if "bad escape (end of pattern)" in message:
        return "trailing backslash at end of expression: ``"
    if "bad escape" in message:
        return f"invalid escape sequence: `{rest[:2]}`"
    return f"{message}: `{rest}`"


@lru_cache(4096)
def searcher(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether a text has a match.

    Python's engine backtracks: an expression that repeats repetitions can take ages on a text that does not
    match. For such a one, and a text of some length, RE2 is asked, as the CEL library has it.

    Raises:
        BadPattern: it is no regular expression.
    """
    search = compiled_pattern(pattern).search
    if not _REPEATED.search(_CLASS.sub("c", pattern)) or library() is None:
        return lambda text: search(text) is not None
    linear = _re2()
    return lambda text: search(text) is not None if len(text) <= _SHORT else linear(text, pattern)


@lru_cache(1)
def _re2() -> Callable[[str, str], bool]:
    cel = library()
    variables = {"text": cel.Type.STRING, "pattern": cel.Type.STRING}
    program = cel.NewEnv(variables=variables).compile("text.matches(pattern)")
    return lambda text, pattern: program.eval(data={"text": text, "pattern": pattern}).value() is True

"""Numbers as Go prints and classifies them."""

import math
import struct
from typing import Any

MAX_INT = 2**63 - 1
MIN_INT = -(2**63)
_SAFE = float(2**53 - 1)  # up to here a float that is whole counts as an integer
_PLAIN_DIGITS = 21  # JSON shows an exponent from here on, Go's %v from 6 on


def go_float(value: float, plain_digits: int = 6) -> str:
    """A float64 as Go's %v shows it: 100.0 is 100, 1000000.0 is 1e+06."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    # repr gives the shortest digits that read back as the same number.
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    power = int(exponent or 0) + len(whole) - 1 - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if power < -4 or power >= plain_digits:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    padded = digits.ljust(power + 1, "0")
    rest = padded[power + 1 :]
    return f"{sign}{padded[: power + 1]}{'.' + rest if rest else ''}"


def json_float(value: float) -> str:
    """A float64 as Go writes it into JSON."""
    return go_float(value, _PLAIN_DIGITS)


def is_whole(value: Any) -> bool:
    """Whether a number is an integer to Kubernetes, however it is written."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) <= _SAFE
    return bool(MIN_INT <= value <= MAX_INT)


NUMBER_FORMATS = {"integer": ("int32", "int64"), "number": ("float", "double")}
"""The formats that are known for numbers, by type."""


def fits(value: float, kind: str, form: str) -> bool:
    """Whether a number is one of a type, in a format of `NUMBER_FORMATS`; "" is the default format."""
    if kind == "integer":
        return is_whole(value) and (form != "int32" or -(2**31) <= value < 2**31)
    if form == "float":
        try:
            struct.pack("<f", value)
        except OverflowError:
            return False
    return True

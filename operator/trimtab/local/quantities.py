"""Kubernetes quantities: "500m", "1Gi", "2e3"."""

import re
from decimal import ROUND_UP, Decimal

_QUANTITY = re.compile(r"([+-]?[0-9.]+)([eE][+-]?[0-9]+|[numkMGTPE]i?|[KMGTPE]i)?")
_FACTORS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}


def quantity(text: str) -> Decimal:
    """The number a quantity stands for, exactly.

    Raises:
        ValueError: it is not a quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write it like 500m, 2, 1.5 or 1Gi")
    number, suffix = match.groups()
    if suffix and suffix[0] in "eE" and suffix not in _FACTORS:
        return Decimal(number + suffix)
    return Decimal(number) * _FACTORS.get(suffix or "", Decimal(1))


_DECIMAL = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
_LARGEST = Decimal(2**63 - 1)
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def canonical(text: str) -> str:
    """A quantity as the API shows it: whole, in the largest unit that loses nothing, in the family it was written in.

    Raises:
        ValueError: it is not a quantity.
    """
    value = max(min(quantity(text), _LARGEST), -_LARGEST)
    suffix = text.lstrip("+-0123456789.")
    if suffix.endswith("i") and abs(value) >= 1024 and value == int(value):
        whole, power = int(value), 0
        while whole % 1024 == 0 and power < len(_BINARY) - 1:
            whole, power = whole // 1024, power + 1
        return f"{whole}{_BINARY[power]}"
    nano = int(
        (value * Decimal("1e9")).to_integral_value(ROUND_UP)
    )  # what is less than the smallest unit counts as one
    if nano == 0:
        return "0"
    exponent = -9
    while nano % 1000 == 0 and exponent < 18:
        nano, exponent = nano // 1000, exponent + 3
    if suffix[:1] in ("e", "E") and suffix not in _FACTORS:
        return f"{nano}e{exponent}" if exponent else str(nano)
    return f"{nano}{_DECIMAL[exponent]}"

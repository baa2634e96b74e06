"""What Kubernetes adds to CEL: quantities, addresses, URLs, versions and named formats."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from trimtab.local.names import label_1035_problems, label_problems, qualified_name_problems, subdomain_problems
from trimtab.local.names import label_value_problems as value_problems
from trimtab.local.schema.cel.values import NOTHING, EvaluationError, Optional, no_overload
from trimtab.local.schema.formats import has_format
from trimtab.local.schema.numbers import MAX_INT, MIN_INT

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")
_QUANTITY_TEXT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount such as 100m or 2Gi."""

    type_name: ClassVar[str] = "kubernetes.Quantity"
    amount: Decimal

    def plus(self, other: Any, sign: int = 1) -> "Quantity":
        given = other.amount if isinstance(other, Quantity) else Decimal(other)
        return Quantity(self.amount + sign * given)

    def whole(self) -> int:
        if self.amount != self.amount.to_integral_value() or not MIN_INT <= self.amount <= MAX_INT:
            raise EvaluationError("cannot convert value to integer")
        return int(self.amount)

    def is_whole(self) -> bool:
        return self.amount == self.amount.to_integral_value() and MIN_INT <= self.amount <= MAX_INT

    def sign(self) -> int:
        return (self.amount > 0) - (self.amount < 0)


def quantity(text: Any) -> Quantity:
    found = _quantity(text)
    if found is None:
        raise EvaluationError(_QUANTITY_TEXT)
    return found


def _quantity(text: Any) -> Quantity | None:
    if not isinstance(text, str):
        raise no_overload()
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    amount, suffix = Decimal(match[1]), match[2] or ""
    if suffix[:1] in ("e", "E") and len(suffix) > 1:
        return Quantity(amount.scaleb(int(suffix[1:])))
    if suffix.endswith("i"):
        return Quantity(amount * 1024 ** ("KMGTPE".index(suffix[0]) + 1))
    return Quantity(amount.scaleb(_DECIMAL[suffix]))


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address."""

    type_name: ClassVar[str] = "net.IP"
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address

    def __str__(self) -> str:
        return str(self.ip)

    def link_local_multicast(self) -> bool:
        if self.ip.version == 4:
            return str(self.ip).startswith("224.0.0.")
        return self.ip.packed[0] == 0xFF and self.ip.packed[1] & 15 == 2

    def global_unicast(self) -> bool:
        broadcast = str(self.ip) == "255.255.255.255"
        ip = self.ip
        return not (broadcast or ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_link_local)


def _address(text: Any) -> Address | None:
    if not isinstance(text, str):
        raise no_overload()
    if "%" in text:
        return None
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None
    return None if mapped else Address(found)


def ip(value: Any) -> Address:
    """An address from its text, or the one of a network."""
    if isinstance(value, Network):
        return Address(value.address)
    found = _address(value)
    if found is None:
        raise EvaluationError(f'IP Address "{value}" parse error during conversion from string: {_why(value)}')
    return found


def _why(text: str) -> str:
    return f'ParseAddr("{text}"): unable to parse IP'


@dataclass(frozen=True, slots=True)
class Network:
    """An address with a prefix length."""

    type_name: ClassVar[str] = "net.CIDR"
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    prefix: int

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"

    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network(str(self), strict=False)

    def contains_ip(self, other: Any) -> bool:
        address = other if isinstance(other, Address) else ip(other)
        return address.ip in self.network()

    def contains_cidr(self, other: Any) -> bool:
        given = other if isinstance(other, Network) else cidr(other)
        inner, outer = given.network(), self.network()
        return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]

    def masked(self) -> "Network":
        return Network(self.network().network_address, self.prefix)


def _network(text: Any) -> Network | None:
    if not isinstance(text, str):
        raise no_overload()
    address, slash, prefix = text.partition("/")
    found = _address(address)
    if found is None or not slash or not re.fullmatch(r"0|[1-9]\d*", prefix):
        return None
    return Network(found.ip, int(prefix)) if int(prefix) <= found.ip.max_prefixlen else None


def cidr(text: Any) -> Network:
    found = _network(text)
    if found is None:
        raise EvaluationError(
            f'network address parse error during conversion from string: invalid CIDR address "{text}"'
        )
    return found


@dataclass(frozen=True, slots=True)
class Url:
    """A URL, absolute or a path."""

    type_name: ClassVar[str] = "kubernetes.URL"
    text: str

    def host(self) -> str:
        return urlsplit(self.text).netloc.rpartition("@")[2]

    def hostname(self) -> str:
        host = self.host()
        if host.startswith("["):
            return host[1:].partition("]")[0]
        return host.rpartition(":")[0] if ":" in host else host

    def port(self) -> str:
        tail = self.host().rpartition("]")[2]
        return tail.partition(":")[2]


def _url(text: Any) -> Url | None:
    if not isinstance(text, str):
        raise no_overload()
    bad = any(c < " " or c == "\x7f" for c in text) or not text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    fine = not bad and (bool(parts.scheme) or text.startswith("/")) and " " not in parts.netloc
    return Url(text) if fine and (port is None or port >= 0) else None


def url(text: Any) -> Url:
    found = _url(text)
    if found is None:
        raise EvaluationError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return found


@dataclass(frozen=True, slots=True)
class Semver:
    """A semantic version; build metadata does not count."""

    type_name: ClassVar[str] = "kubernetes.Semver"
    numbers: tuple[int, int, int]
    stage: tuple[str, ...] = ()

    def order(self) -> tuple[Any, ...]:
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.stage)
        return (self.numbers, not self.stage, parts)


def _semver(text: Any, normalize: bool = False) -> Semver | None:
    if not isinstance(text, str):
        raise no_overload()
    if normalize:
        text = text.removeprefix("v")
        core, mark, rest = [*re.split(r"([-+])", text, maxsplit=1), "", ""][:3]
        numbers = [part.lstrip("0") or "0" for part in core.split(".")]
        text = ".".join(numbers + ["0"] * (3 - len(numbers))) + mark + rest
    match = _SEMVER.fullmatch(text)
    if match is None:
        return None
    stage = tuple(match[4].split(".")) if match[4] else ()
    return Semver((int(match[1]), int(match[2]), int(match[3])), stage)


def semver(text: Any, normalize: bool = False) -> Semver:
    found = _semver(text, normalize)
    if found is None:
        raise EvaluationError("No Major.Minor.Patch elements found")
    return found


@dataclass(frozen=True, slots=True)
class NamedFormat:
    """A format by its name."""

    type_name: ClassVar[str] = "kubernetes.NamedFormat"
    name: str

    def problems(self, text: str) -> list[str]:
        problems = _FORMATS.get(self.name)
        if problems is not None:
            return problems(text)
        return [] if has_format(text, self.name) else [f"invalid {self.name}"]


def _prefix(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """Names that something is appended to may end in a dash."""
    return lambda text: check(text[:-1] + "a" if text.endswith("-") else text)


_FORMATS: Mapping[str, Callable[[str], list[str]]] = {
    "dns1123Label": label_problems,
    "dns1123Subdomain": subdomain_problems,
    "dns1035Label": label_1035_problems,
    "qualifiedName": qualified_name_problems,
    "dns1123LabelPrefix": _prefix(label_problems),
    "dns1123SubdomainPrefix": _prefix(subdomain_problems),
    "dns1035LabelPrefix": _prefix(label_1035_problems),
    "labelValue": value_problems,
}
_CHECKED = ("uri", "uuid", "byte", "date", "datetime")


def _validate(form: NamedFormat, text: Any) -> Optional:
    if not isinstance(text, str):
        raise no_overload()
    problems = form.problems(text)
    return Optional(True, problems) if problems else NOTHING


def _named(name: Any) -> Optional:
    return Optional(True, NamedFormat(name)) if name in _FORMATS or name in _CHECKED else NOTHING


def _compare(one: Any, other: Any) -> int:
    a, b = (v.amount if isinstance(v, Quantity) else v.order() for v in (one, other))
    return (a > b) - (a < b)


def _canonical(text: Any) -> bool:
    return bool(str(ip(text)) == text)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "quantity": quantity,
    "isQuantity": lambda text: _quantity(text) is not None,
    "sign": Quantity.sign,
    "isInteger": Quantity.is_whole,
    "asInteger": Quantity.whole,
    "asApproximateFloat": lambda value: float(value.amount),
    "add": Quantity.plus,
    "sub": lambda one, other: one.plus(other, -1),
    "isGreaterThan": lambda one, other: _compare(one, other) > 0,
    "isLessThan": lambda one, other: _compare(one, other) < 0,
    "compareTo": _compare,
    "semver": semver,
    "isSemver": lambda text, normalize=False: _semver(text, normalize) is not None,
    "major": lambda version: version.numbers[0],
    "minor": lambda version: version.numbers[1],
    "patch": lambda version: version.numbers[2],
    "ip": ip,
    "isIP": lambda text: _address(text) is not None,
    "ip.isCanonical": _canonical,
    "family": lambda address: address.ip.version,
    "isUnspecified": lambda address: address.ip.is_unspecified,
    "isLoopback": lambda address: address.ip.is_loopback,
    "isLinkLocalMulticast": Address.link_local_multicast,
    "isLinkLocalUnicast": lambda address: address.ip.is_link_local,
    "isGlobalUnicast": Address.global_unicast,
    "cidr": cidr,
    "isCIDR": lambda text: _network(text) is not None,
    "containsIP": Network.contains_ip,
    "containsCIDR": Network.contains_cidr,
    "prefixLength": lambda network: network.prefix,
    "masked": Network.masked,
    "url": url,
    "isURL": lambda text: _url(text) is not None,
    "getScheme": lambda found: urlsplit(found.text).scheme,
    "getHost": Url.host,
    "getHostname": Url.hostname,
    "getPort": Url.port,
    "getEscapedPath": lambda found: urlsplit(found.text).path,
    "getQuery": lambda found: parse_qs(urlsplit(found.text).query, keep_blank_values=True),
    "format.named": _named,
    "validate": _validate,
    **{f"format.{name}": (lambda name=name: NamedFormat(name)) for name in (*_FORMATS, *_CHECKED)},
}

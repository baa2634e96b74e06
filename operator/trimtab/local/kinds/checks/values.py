"""What single values may look like: ports, addresses, keys, percentages, paths, quantities; with Kubernetes' words."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.local.names import (
    label_problems,
    label_value_problems,
    qualified_name_problems,
    subdomain_problems,
)
from trimtab.local.objects import Object, quote
from trimtab.local.quantities import canonical, quantity
from trimtab.local.statuses import FieldError, forbidden_field, invalid_value, required, unsupported

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"
PROTOCOLS = ("SCTP", "TCP", "UDP")
_PORT = "must be between 1 and 65535, inclusive"
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_PERCENT = re.compile(r"[0-9]+%")
_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)
_VARIABLE_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_LINK_LOCAL = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
_LINK_LOCAL_MULTICAST = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"


def invalid_all(field: str, value: Any, problems: Sequence[str]) -> list[FieldError]:
    """One error per problem of a value."""
    return [invalid_value(field, quote(value), problem) for problem in problems]


def port_number_errors(value: int, field: str) -> list[FieldError]:
    return [] if 1 <= value <= 65535 else [invalid_value(field, str(value), _PORT)]


def port_name_problems(name: str) -> list[str]:
    found = [] if len(name) <= 15 else ["must be no more than 15 bytes"]
    if not re.fullmatch(r"[-a-z0-9]+", name):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", name):
        found.append("must contain at least one letter (a-z)")
    if "--" in name:
        found.append("must not contain consecutive hyphens")
    if name and (name[0] == "-" or name[-1] == "-"):
        found.append("must not begin or end with a hyphen")
    return found


def port_errors(value: Any, field: str) -> list[FieldError]:
    """A port by its number or its name."""
    if isinstance(value, str):
        return invalid_all(field, value, port_name_problems(value))
    return port_number_errors(int(value or 0), field)


def protocol_errors(value: str, field: str) -> list[FieldError]:
    if not value:
        return [required(field)]
    return [] if value in PROTOCOLS else [unsupported(field, quote(value), [quote(p) for p in PROTOCOLS])]


def choice_errors(value: str, field: str, choices: Sequence[str]) -> list[FieldError]:
    """A value out of few; `choices` in the order in which the refusal lists them."""
    if not value:
        return [required(field)]
    return [] if value in choices else [unsupported(field, quote(value), [quote(c) for c in choices])]


def count_errors(obj: Mapping[str, Any], field: str, *names: str) -> list[FieldError]:
    """Numbers that may not be negative, where they are set."""
    return [
        invalid_value(f"{field}.{name}", str(obj[name]), NOT_NEGATIVE)
        for name in names
        if obj.get(name) is not None and obj[name] < 0
    ]


def key_problems(key: str) -> list[str]:
    """Problems of a key in a ConfigMap or a Secret."""
    found = [] if len(key) <= 253 else ["must be no more than 253 bytes"]
    if not _KEY.fullmatch(key):
        found.append(_KEY_TEXT)
    if key in (".", ".."):
        found.append(f"must not be '{key}'")
    elif key.startswith(".."):
        found.append("must not start with '..'")
    return found


def variable_problems(name: str) -> list[str]:
    if not name:
        return ["must be non-empty"]
    printable = all(" " <= character <= "~" and character != "=" for character in name)
    return [] if printable else [_VARIABLE_TEXT]


def percent_or_count_errors(value: Any, field: str) -> list[FieldError]:
    """A number of things, or a share of all."""
    if isinstance(value, str):
        return [] if _PERCENT.fullmatch(value) else [invalid_value(field, quote(value), _PERCENT_TEXT)]
    return [] if value >= 0 else [invalid_value(field, str(value), NOT_NEGATIVE)]


def at_most_everything_errors(value: Any, field: str) -> list[FieldError]:
    too_much = isinstance(value, str) and _PERCENT.fullmatch(value) and int(value[:-1]) > 100
    return [invalid_value(field, quote(value), "must not be greater than 100%")] if too_much else []


def amount(value: Any) -> int:
    """The number in a count or a percentage."""
    text = str(value).rstrip("%")
    return int(text) if text.lstrip("-").isdigit() else 0


def ip_errors(value: str, field: str, version: int = 0) -> list[FieldError]:
    """An address; of one version only where that is given."""
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        found = None
    if version:
        right = found is not None and found.version == version
        return [] if right else [invalid_value(field, quote(value), f"must be a valid IPv{version} address")]
    return [] if found is not None else [invalid_value(field, quote(value), _IP)]


def cidr_errors(value: str, field: str) -> list[FieldError]:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return [invalid_value(field, quote(value), _CIDR)]
    return [] if "/" in value else [invalid_value(field, quote(value), _CIDR)]


def special_ip_errors(value: str, field: str) -> list[FieldError]:
    """Addresses that no endpoint can have. Those of this cluster are loopback addresses, which a real one refuses."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return [invalid_value(field, quote(value), "must be a valid IP address")]
    if address.is_unspecified:
        return [invalid_value(field, quote(value), f"may not be unspecified ({value})")]
    errors = [invalid_value(field, quote(value), _LINK_LOCAL)] if address.is_link_local else []
    if address in (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/16"))[address.version == 6]:
        errors.append(invalid_value(field, quote(value), _LINK_LOCAL_MULTICAST))
    return errors


def label_errors(value: str, field: str) -> list[FieldError]:
    """A name that is a DNS label."""
    return invalid_all(field, value, label_problems(value))


def subdomain_errors(value: str, field: str) -> list[FieldError]:
    return invalid_all(field, value, subdomain_problems(value))


def qualified_name_errors(value: str, field: str) -> list[FieldError]:
    return invalid_all(field, value, qualified_name_problems(value))


def relative_path_errors(path: str, field: str) -> list[FieldError]:
    """A path that stays below where it starts."""
    errors = [invalid_value(field, quote(path), "must be a relative path")] if path.startswith("/") else []
    return errors + no_backsteps_errors(path, field)


def projected_path_errors(path: str, field: str) -> list[FieldError]:
    """A path in a volume, whose own files begin with two dots."""
    errors = relative_path_errors(path, field)
    if path.startswith("..") and not path.startswith("../"):
        errors.append(invalid_value(field, quote(path), "must not start with '..'"))
    return errors


def no_backsteps_errors(path: str, field: str) -> list[FieldError]:
    return [invalid_value(field, quote(path), "must not contain '..'")] if ".." in path.split("/") else []


def mode_errors(source: Object, field: str, name: str = "defaultMode") -> list[FieldError]:
    mode = source.get(name)
    if mode is None or 0 <= mode <= 0o777:
        return []
    return [invalid_value(f"{field}.{name}", str(mode), "must be a number between 0 and 0777 (octal), both inclusive")]


def quantity_errors(name: str, value: str, field: str) -> list[FieldError]:
    """An amount of a resource: not negative, and whole where the resource has no fractions."""
    errors = []
    if quantity(value) < 0:
        errors.append(invalid_value(field, quote(canonical(value)), NOT_NEGATIVE))
    if is_extended(name) and quantity(value) % 1:
        errors.append(invalid_value(field, quote(canonical(value)), "must be an integer"))
    return errors


def is_extended(resource: str) -> bool:
    """Whether a resource is one that the cluster's owner names, such as example.com/gpu."""
    return "/" in resource and "kubernetes.io/" not in resource


def selector_errors(selector: Object | None, field: str) -> list[FieldError]:
    """A LabelSelector: its labels and its expressions."""
    if selector is None:
        return []
    errors = []
    for key, value in sorted((selector.get("matchLabels") or {}).items()):
        errors += qualified_name_errors(key, f"{field}.matchLabels")
        errors += invalid_all(f"{field}.matchLabels", value, label_value_problems(value))
    for index, expression in enumerate(selector.get("matchExpressions") or []):
        at = f"{field}.matchExpressions[{index}]"
        operator, values = expression.get("operator", ""), expression.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                errors.append(required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                errors.append(forbidden_field(f"{at}.values", text))
        else:
            errors.append(invalid_value(f"{at}.operator", quote(operator), "not a valid selector operator"))
        errors += qualified_name_errors(expression.get("key", ""), f"{at}.key")
        for place, value in enumerate(values):
            errors += invalid_all(f"{at}.values[{place}]", value, label_value_problems(value))
    return errors


def shown_selector(selector: Object | None) -> str:
    """A LabelSelector as messages quote it."""
    if selector is None:
        return "null"
    out: Object = {}
    if labels := selector.get("matchLabels"):
        out["matchLabels"] = dict(sorted(labels.items()))
    if expressions := selector.get("matchExpressions"):
        names = ("key", "operator", "values")
        out["matchExpressions"] = [{n: e[n] for n in names if n in e} for e in expressions]
    return quote(out)

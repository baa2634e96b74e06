"""Every function that Kubernetes offers to CEL expressions, with the types of its forms.

A line is `name: id form; id form`, a form `(types) type` or, for methods, `type.(types) type`. A and B are
type variables. Names of forms are those of the language's definition, as costs depend on them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from trimtab.local.schema.cel.types import SCALARS, Type, list_of, map_of, optional_of, type_of, variable


@dataclass(frozen=True, slots=True)
class Form:
    """One way to call a function; the target of a method comes first among its parameters."""

    id: str
    params: tuple[Type, ...]
    result: Type
    method: bool


_OPERATORS = """
_?_:_: conditional (bool, A, A) A
_&&_: logical_and (bool, bool) bool
_||_: logical_or (bool, bool) bool
!_: logical_not (bool) bool
@not_strictly_false: not_strictly_false (bool) bool
_==_: equals (A, A) bool
_!=_: not_equals (A, A) bool
_+_: add_bytes (bytes, bytes) bytes; add_double (double, double) double;
 add_duration_duration (duration, duration) duration; add_duration_timestamp (duration, timestamp) timestamp;
 add_timestamp_duration (timestamp, duration) timestamp; add_int64 (int, int) int;
 add_list (list(A), list(A)) list(A); add_string (string, string) string; add_uint64 (uint, uint) uint
-_: negate_double (double) double; negate_int64 (int) int
_-_: subtract_double (double, double) double; subtract_duration_duration (duration, duration) duration;
 subtract_int64 (int, int) int; subtract_timestamp_duration (timestamp, duration) timestamp;
 subtract_timestamp_timestamp (timestamp, timestamp) duration; subtract_uint64 (uint, uint) uint
_*_: multiply_double (double, double) double; multiply_int64 (int, int) int; multiply_uint64 (uint, uint) uint
_/_: divide_double (double, double) double; divide_int64 (int, int) int; divide_uint64 (uint, uint) uint
_%_: modulo_int64 (int, int) int; modulo_uint64 (uint, uint) uint
@in: in_list (A, list(A)) bool; in_map (A, map(A, B)) bool
_[_]: index_list (list(A), int) A; index_map (map(A, B), A) B;
 optional_list_index_int (optional(list(A)), int) optional(A);
 optional_map_index_value (optional(map(A, B)), A) optional(B)
_[?_]: list_optindex_optional_int (list(A), int) optional(A);
 optional_list_optindex_optional_int (optional(list(A)), int) optional(A);
 map_optindex_optional_value (map(A, B), A) optional(B);
 optional_map_optindex_optional_value (optional(map(A, B)), A) optional(B)
"""

_STANDARD = """
size: size_bytes (bytes) int; bytes_size bytes.() int; size_list (list(A)) int; list_size list(A).() int;
 size_map (map(A, B)) int; map_size map(A, B).() int; size_string (string) int; string_size string.() int
type: type (A) type(A)
dyn: to_dyn (A) dyn
bool: bool_to_bool (bool) bool; string_to_bool (string) bool
bytes: bytes_to_bytes (bytes) bytes; string_to_bytes (string) bytes
double: double_to_double (double) double; int64_to_double (int) double; string_to_double (string) double;
 uint64_to_double (uint) double
duration: duration_to_duration (duration) duration; int64_to_duration (int) duration;
 string_to_duration (string) duration
int: int64_to_int64 (int) int; double_to_int64 (double) int; duration_to_int64 (duration) int;
 string_to_int64 (string) int; timestamp_to_int64 (timestamp) int; uint64_to_int64 (uint) int
string: string_to_string (string) string; bool_to_string (bool) string; bytes_to_string (bytes) string;
 double_to_string (double) string; duration_to_string (duration) string; int64_to_string (int) string;
 timestamp_to_string (timestamp) string; uint64_to_string (uint) string; ip_to_string (net.IP) string;
 cidr_to_string (net.CIDR) string
timestamp: timestamp_to_timestamp (timestamp) timestamp; int64_to_timestamp (int) timestamp;
 string_to_timestamp (string) timestamp
uint: uint64_to_uint64 (uint) uint; double_to_uint64 (double) uint; int64_to_uint64 (int) uint;
 string_to_uint64 (string) uint
contains: contains_string string.(string) bool
endsWith: ends_with_string string.(string) bool
startsWith: starts_with_string string.(string) bool
matches: matches (string, string) bool; matches_string string.(string) bool
getHours: timestamp_to_hours timestamp.() int; timestamp_to_hours_with_tz timestamp.(string) int;
 duration_to_hours duration.() int
getMinutes: timestamp_to_minutes timestamp.() int; timestamp_to_minutes_with_tz timestamp.(string) int;
 duration_to_minutes duration.() int
getSeconds: timestamp_to_seconds timestamp.() int; timestamp_to_seconds_tz timestamp.(string) int;
 duration_to_seconds duration.() int
getMilliseconds: timestamp_to_milliseconds timestamp.() int;
 timestamp_to_milliseconds_with_tz timestamp.(string) int; duration_to_milliseconds duration.() int
"""

_STRINGS = """
charAt: string_char_at_int string.(int) string
indexOf: string_index_of_string string.(string) int; string_index_of_string_int string.(string, int) int;
 list_a_index_of_int list(A).(A) int
lastIndexOf: string_last_index_of_string string.(string) int;
 string_last_index_of_string_int string.(string, int) int; list_a_last_index_of_int list(A).(A) int
lowerAscii: string_lower_ascii string.() string
upperAscii: string_upper_ascii string.() string
replace: string_replace_string_string string.(string, string) string;
 string_replace_string_string_int string.(string, string, int) string
split: string_split_string string.(string) list(string); string_split_string_int string.(string, int) list(string)
substring: string_substring_int string.(int) string; string_substring_int_int string.(int, int) string
trim: string_trim string.() string
join: list_join list(string).() string; list_join_string list(string).(string) string
format: string_format string.(list(dyn)) string
strings.quote: strings_quote (string) string
find: string_find_string string.(string) string
findAll: string_find_all_string string.(string) list(string);
 string_find_all_string_int string.(string, int) list(string)
sets.contains: list_sets_contains_list (list(A), list(A)) bool
sets.equivalent: list_sets_equivalent_list (list(A), list(A)) bool
sets.intersects: list_sets_intersects_list (list(A), list(A)) bool
"""

_OPTIONAL = """
optional.of: optional_of (A) optional(A)
optional.ofNonZeroValue: optional_ofNonZeroValue (A) optional(A)
optional.none: optional_none () optional(A)
value: optional_value optional(A).() A
hasValue: optional_hasValue optional(A).() bool
or: optional_or_optional optional(A).(optional(A)) optional(A)
orValue: optional_orValue_value optional(A).(A) A
cel.@mapInsert: @mapInsert_map_key_value (map(A, B), A, B) map(A, B)
"""

_KUBERNETES = """
url: string_to_url (string) kubernetes.URL
isURL: is_url_string (string) bool
getScheme: url_get_scheme kubernetes.URL.() string
getHost: url_get_host kubernetes.URL.() string
getHostname: url_get_hostname kubernetes.URL.() string
getPort: url_get_port kubernetes.URL.() string
getEscapedPath: url_get_escaped_path kubernetes.URL.() string
getQuery: url_get_query kubernetes.URL.() map(string, list(string))
quantity: string_to_quantity (string) kubernetes.Quantity
isQuantity: is_quantity_string (string) bool
sign: quantity_sign kubernetes.Quantity.() int
isInteger: quantity_is_integer kubernetes.Quantity.() bool
asInteger: quantity_as_integer kubernetes.Quantity.() int
asApproximateFloat: quantity_as_float kubernetes.Quantity.() double
add: quantity_add kubernetes.Quantity.(kubernetes.Quantity) kubernetes.Quantity;
 quantity_add_int kubernetes.Quantity.(int) kubernetes.Quantity
sub: quantity_sub kubernetes.Quantity.(kubernetes.Quantity) kubernetes.Quantity;
 quantity_sub_int kubernetes.Quantity.(int) kubernetes.Quantity
isGreaterThan: quantity_is_greater_than kubernetes.Quantity.(kubernetes.Quantity) bool;
 semver_is_greater_than kubernetes.Semver.(kubernetes.Semver) bool
isLessThan: quantity_is_less_than kubernetes.Quantity.(kubernetes.Quantity) bool;
 semver_is_less_than kubernetes.Semver.(kubernetes.Semver) bool
compareTo: quantity_compare_to kubernetes.Quantity.(kubernetes.Quantity) int;
 semver_compare_to kubernetes.Semver.(kubernetes.Semver) int
semver: string_to_semver (string) kubernetes.Semver; string_bool_to_semver (string, bool) kubernetes.Semver
isSemver: is_semver_string (string) bool; is_semver_string_bool (string, bool) bool
major: semver_major kubernetes.Semver.() int
minor: semver_minor kubernetes.Semver.() int
patch: semver_patch kubernetes.Semver.() int
ip: string_to_ip (string) net.IP; cidr_ip net.CIDR.() net.IP
isIP: is_ip (string) bool
ip.isCanonical: ip_is_canonical (string) bool
family: ip_family net.IP.() int
isUnspecified: ip_is_unspecified net.IP.() bool
isLoopback: ip_is_loopback net.IP.() bool
isLinkLocalMulticast: ip_is_link_local_multicast net.IP.() bool
isLinkLocalUnicast: ip_is_link_local_unicast net.IP.() bool
isGlobalUnicast: ip_is_global_unicast net.IP.() bool
cidr: string_to_cidr (string) net.CIDR
isCIDR: is_cidr (string) bool
containsIP: cidr_contains_ip_string net.CIDR.(string) bool; cidr_contains_ip_ip net.CIDR.(net.IP) bool
containsCIDR: cidr_contains_cidr_string net.CIDR.(string) bool; cidr_contains_cidr net.CIDR.(net.CIDR) bool
prefixLength: cidr_prefix_length net.CIDR.() int
masked: cidr_masked net.CIDR.() net.CIDR
format.named: format-named (string) optional(kubernetes.NamedFormat)
validate: format-validate kubernetes.NamedFormat.(string) optional(list(string))
"""

FORMATS = (
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
)
_GETTERS = ("FullYear", "Month", "DayOfYear", "DayOfMonth", "Date", "DayOfWeek")
_ORDERED = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration")
_NUMBERS = ("int", "uint", "double")
_SUMMABLE = ("int", "uint", "double", "duration")
_OPAQUE = re.compile(r"(kubernetes|net)\.[A-Za-z]+")


def _generated() -> str:
    """Functions that come in one form per type."""
    lines = []
    for sign, word in (("<", "less"), ("<=", "less_equals"), (">", "greater"), (">=", "greater_equals")):
        same = [f"{word}_{_long(t)} ({t}, {t}) bool" for t in _ORDERED]
        mixed = [f"{word}_{_long(a)}_{_long(b)} ({a}, {b}) bool" for a in _NUMBERS for b in _NUMBERS if a != b]
        lines.append(f"_{sign}_: {'; '.join(same + mixed)}")
    lines += [f"get{name}: ts_{name} timestamp.() int; ts_{name}_tz timestamp.(string) int" for name in _GETTERS]
    sums = [f"list_{t}_sum list({t}).() {t}" for t in _SUMMABLE]
    lines.append(f"sum: {'; '.join(sums)}")
    lines += [f"{name}: " + "; ".join(f"list_{t}_{name} list({t}).() {t}" for t in _ORDERED) for name in ("min", "max")]
    lines.append("isSorted: " + "; ".join(f"list_{t}_is_sorted list({t}).() bool" for t in _ORDERED))
    lines += [f"format.{name}: format-{name} () kubernetes.NamedFormat" for name in FORMATS]
    return "\n".join(lines)


def _long(name: str) -> str:
    return {"int": "int64", "uint": "uint64"}.get(name, name)


@cache
def functions() -> Mapping[str, Sequence[Form]]:
    """All forms of every function by its name."""
    text = f"{_OPERATORS}\n{_STANDARD}\n{_STRINGS}\n{_OPTIONAL}\n{_KUBERNETES}\n{_generated()}"
    found: dict[str, Sequence[Form]] = {}
    for line in re.sub(r";\s*\n ", "; ", text).splitlines():
        if line:
            name, _, forms = line.partition(": ")
            found[name] = [_form(form.strip()) for form in forms.split(";")]
    return found


def _form(text: str) -> Form:
    identity, _, signature = text.partition(" ")
    target, _, rest = signature.partition(".(") if ".(" in signature else ("", "", signature.removeprefix("("))
    given, _, result = _closing(rest)
    params = tuple(_type(part) for part in _parts(given))
    if target:
        params = (_type(target), *params)
    return Form(identity, params, _type(result), bool(target))


def _closing(text: str) -> tuple[str, str, str]:
    """Split behind the parenthesis that ends the parameters."""
    depth = 0
    for at, character in enumerate(text):
        if character == "(":
            depth += 1
        elif character == ")":
            if not depth:
                return text[:at], ")", text[at + 1 :].strip()
            depth -= 1
    raise ValueError(text)


def _parts(text: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _type(text: str) -> Type:
    name, _, inside = text.partition("(")
    params = [_type(part) for part in _parts(inside.removesuffix(")"))]
    match name:
        case "list":
            return list_of(params[0])
        case "map":
            return map_of(*params)
        case "type":
            return type_of(params[0])
        case "optional":
            return optional_of(params[0])
        case "A" | "B":
            return variable(name)
    if _OPAQUE.fullmatch(name):
        return Type("opaque", (), name)
    return SCALARS[name]

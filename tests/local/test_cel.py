"""CEL as Kubernetes has it: types, texts of errors, functions, costs."""

from typing import Any

import pytest

from trimtab.local.schema.cel.checking import Uncheckable, check
from trimtab.local.schema.cel.costs import highest_cost
from trimtab.local.schema.cel.declared import declared, escaped
from trimtab.local.schema.cel.evaluating import Program
from trimtab.local.schema.cel.syntax import library
from trimtab.local.schema.cel.values import CostExceeded, EvaluationError

pytestmark = pytest.mark.skipif(library() is None, reason="the CEL library is not installed")

TEXT = {"type": "string"}
INTEGER = {"type": "integer"}
NODE = {
    "type": "object",
    "properties": {
        "a": INTEGER,
        "n": {"type": "number"},
        "s": TEXT,
        "l": {"type": "array", "items": TEXT},
        "st": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
        "lm": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": TEXT, "v": INTEGER}},
        },
        "m": {"type": "object", "additionalProperties": INTEGER},
        "x": {"x-kubernetes-int-or-string": True},
        "t": {"type": "string", "format": "date-time"},
        "d": {"type": "string", "format": "duration"},
        "day": {"type": "string", "format": "date"},
        "b": {"type": "string", "format": "byte"},
        "o": {"type": "object", "properties": {"z": {**INTEGER, "nullable": True}}},
        "namespace": TEXT,
        "a-b": INTEGER,
        "u__v": INTEGER,
        "free": {"x-kubernetes-preserve-unknown-fields": True},
    },
}
VALUE: dict[str, Any] = {
    "a": 3,
    "n": 2,
    "s": "abc",
    "l": ["a", "bb"],
    "st": ["x", "y"],
    "lm": [{"k": "p", "v": 1}, {"k": "q", "v": 2}],
    "m": {"k": 1},
    "x": "5%",
    "t": "2020-01-01T00:00:00Z",
    "d": "1h",
    "day": "2020-02-01",
    "b": "aGk=",
    "o": {"z": None},
    "namespace": "ns",
    "a-b": 7,
    "u__v": 8,
}


def program(rule: str) -> Program:
    scope = declared(NODE)
    assert scope is not None
    return Program(check(rule, scope))


@pytest.mark.parametrize(
    "rule",
    [
        "self.a > 1 && self.a < 3.5",
        "self.n / 4.0 == 0.5",
        "-self.a == -3 && self.a % 2 == 1 && -7 / 2 == -3 && -7 % 2 == -1",
        "self.l.all(x, x.size() > 0) && self.l.exists(x, x == 'bb') && self.l.exists_one(x, x == 'bb')",
        "self.l.all(i, v, v.size() > i)",
        "self.l.transformList(i, v, i > 0, v + 'c') == ['bbc']",
        "self.m.transformMap(k, v, v + 1)['k'] == 2 && self.m.exists(k, v, v == 1) && self.m.existsOne(k, v, v == 1)",
        "self.l.map(x, size(x)).sum() == 3 && self.l.filter(x, x == 'a') == ['a']",
        "self.l.map(x, x == 'a', x + '!') == ['a!']",
        "[1, 2, 3].exists(x, 1 / (x - 1) == 1)",  # an error gives way to a decision
        "self.a + 9223372036854775807 > 0 || true",
        "self.t > timestamp('2019-01-01T00:00:00Z') && self.t.getFullYear() == 2020 && self.t.getDayOfWeek() == 3",
        "self.t.getHours('02:00') == 2 && self.t.getHours('America/New_York') == 19",
        "self.d == duration('60m') && self.d.getMinutes() == 60 && string(duration('90s')) == '90s'",
        "timestamp('2020-01-01T00:00:00Z') + duration('24h') == timestamp('2020-01-02T00:00:00Z')",
        "self.day.getMonth() == 1 && string(self.t) == '2020-01-01T00:00:00Z'",
        "self.b == b'hi' && self.b.size() == 2",
        "self.?s.orValue('z') == 'abc' && self.o.?z.hasValue() && self.l[?5].orValue('q') == 'q'",
        "optional.of(1).optMap(x, x + 1).value() == 2 && !optional.none().hasValue()",
        "has(self.o.z)",
        "!has(self.o.z) || true",
        "type(self.x) == string && type(1) == int && type(self.t) == google.protobuf.Timestamp",
        "self.x == '5%' && dyn(self.a) != 'x'",
        "self.st == ['y', 'x'] && self.st + ['x'] == ['x', 'y']",
        "self.lm.exists(e, e.k == 'q' && e.v == 2)",
        "self.__namespace__ == 'ns' && self.a__dash__b == 7 && self.u__underscores__v == 8",
        "'k' in self.m && self.a in [1, 2, 3] && !('z' in self.m)",
        "self.s.matches('^a.c$') && 'abc'.find('[bc]+') == 'bc' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
        "'a,b'.split(',') == ['a', 'b'] && self.l.join('-') == 'a-bb' && 'abc'.substring(1) == 'bc'",
        "'abcb'.indexOf('b') == 1 && 'abcb'.lastIndexOf('b') == 3 && self.l.indexOf('bb') == 1",
        "'aXb'.lowerAscii() == 'axb' && ' a '.trim() == 'a'",
        "'aa'.replace('a', 'b', 1) == 'ba' && 'abc'.charAt(1) == 'b'",
        "'%s has %s'.format([self.s, 'x']) == 'abc has x' && '%.2f'.format([1.5]) == '1.50'",
        "!['b', 'a'].isSorted() && [3, 1].min() == 1 && [3, 1].max() == 3",
        "sets.contains(self.l, ['a']) && sets.equivalent([1, 2], [2, 1]) && sets.intersects([1], [1, 2])",
        "quantity('1Gi').isGreaterThan(quantity('500Mi')) && quantity('1500m').compareTo(quantity('1.5')) == 0",
        "isQuantity('1k') && !isQuantity('x') && quantity('2').add(3).asInteger() == 5 && quantity('-1').sign() == -1",
        "ip('10.0.0.1').family() == 4 && isIP('::1') && !isIP('10.0.0.256') && ip('127.0.0.1').isLoopback()",
        "ip.isCanonical('::1') && !ip.isCanonical('0:0::1') && string(ip('::1')) == '::1'",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.0.0.0/8').prefixLength() == 8 && !isCIDR('x')",
        "url('https://a.b:80/p?q=1').getHost() == 'a.b:80' && url('https://a.b:80/p').getPort() == '80'",
        "url('https://[::1]:80/p').getHostname() == '::1'",
        "url('/p?q=1&q=2').getQuery() == {'q': ['1', '2']} && !isURL('x')",
        "semver('1.2.3').isLessThan(semver('1.10.0'))",
        "semver('1.0.0-rc.1').isLessThan(semver('1.0.0')) && isSemver('1.0.0')",
        "format.dns1123Label().validate('A').hasValue()",
        "!format.named('uuid').value().validate('2cbfd771-35f6-4f4d-889e-245cd5cb1415').hasValue()",
        "{'a': 1}.a == 1 && !has({'a': 1}.b) && 1u + 2u == 3u && int('7') == 7 && double('1.5') == 1.5 && bool('true')",
        "true ? true : false",
    ],
)
def test_what_holds(rule: str):
    """Operators, macros and every library give what a real server has."""
    assert program(rule).evaluate(VALUE)[0] is True


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("self.x > 3", "no such overload"),
        ("self.l[5] == 'q'", "index out of bounds: 5"),
        ("self.m['z'] > 0", "no such key: z"),
        ("dyn(self).nope == 1", "no such key: nope"),
        ("1 / (self.a - 3) == 1", "division by zero"),
        ("1 % (self.a - 3) == 1", "modulus by zero"),
        ("self.a + 9223372036854775807 > 0", "integer overflow"),
        ("int('x') == 1", "type conversion error from 'string' to 'int'"),
        ("optional.none().value() == 1", "optional.none() dereference"),
        ("self.l.filter(x, false).min() == ''", "min called on empty list"),
        ("quantity('x').isInteger()", "quantities must match the regular expression"),
        ("'abc'.substring(5) == ''", "index out of range: 5"),
    ],
)
def test_what_fails_while_it_runs(rule: str, message: str):
    """Evaluation errors say what went wrong in the server's words."""
    with pytest.raises(EvaluationError, match=message.replace("(", r"\(").replace(")", r"\)")):
        program(rule).evaluate(VALUE)


@pytest.mark.parametrize(
    ("rule", "place", "message"),
    [
        ("self.nope > 1", "1:5", "undefined field 'nope'"),
        ("self.free == 1", "1:5", "undefined field 'free'"),
        ("self.s > 1", "1:8", "found no matching overload for '_>_' applied to '(string, int)'"),
        ("self.a.startsWith('a')", "1:18", "found no matching overload for 'startsWith' applied to 'int.(string)'"),
        ("self.a == null", "1:8", "found no matching overload for '_==_' applied to '(int, null)'"),
        ("true || self.a", "1:13", "expected type 'bool' but found 'int'"),
        ("[1, 'a'].size() == 2", "1:5", "expected type 'int' but found 'string'"),
        ("foo(1)", "1:4", "undeclared reference to 'foo' (in container '')"),
        ("other == 1", "1:1", "undeclared reference to 'other' (in container '')"),
        ("self.a.b == 1", "1:7", "type 'int' does not support field selection"),
        (
            "self.s.all(x, true)",
            "1:5",
            "expression of type 'string' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("self.t > timestamp('x')", "1:20", "invalid timestamp argument"),
        ("self.d > duration('x')", "1:19", "invalid duration argument"),
        ("self.s.matches('[')", "1:16", "invalid matches argument"),
        ("has(self)", "1:5", "has() argument must be a field selection"),
        ("self.", "1:6", "Syntax error: no viable alternative at input '.'"),
    ],
)
def test_what_does_not_compile(rule: str, place: str, message: str):
    """The compiler names place and mistake, and points at it."""
    scope = declared(NODE)
    assert scope is not None
    with pytest.raises(Uncheckable) as refused:
        check(rule, scope)
    column = int(place.partition(":")[2])
    assert str(refused.value) == f"ERROR: <input>:{place}: {message}\n | {rule}\n | {'.' * (column - 1)}^"


def test_errors_come_in_order_of_place():
    """All mistakes are listed, each with its line."""
    scope = declared(NODE)
    assert scope is not None
    with pytest.raises(Uncheckable) as refused:
        check("self.nope == 1 &&\n  self.s > 1", scope)
    assert str(refused.value) == (
        "ERROR: <input>:1:5: undefined field 'nope'\n | self.nope == 1 &&\n | ....^\n"
        "ERROR: <input>:2:10: found no matching overload for '_>_' applied to '(string, int)'\n"
        " |   self.s > 1\n | .........^"
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("namespace", "__namespace__"),
        ("a.b", "a__dot__b"),
        ("a-b", "a__dash__b"),
        ("a/b", "a__slash__b"),
        ("a__b", "a__underscores__b"),
        ("x-prop", "x__dash__prop"),
        ("plain", "plain"),
        ("1a", None),
        ("ä", None),
    ],
)
def test_names_are_escaped(name: str, shown: str | None):
    """Keywords and marks in names get a form that expressions can write."""
    assert escaped(name) == shown


@pytest.mark.parametrize(
    ("rule", "node", "cost"),
    [
        ("self < 42", INTEGER, 2),
        ("true", INTEGER, 0),
        ("self == oldSelf", TEXT, 314_575),
        ("self == oldSelf", {**TEXT, "maxLength": 10}, 6),
        ("self == 'ab'", {**TEXT, "enum": ["ab", "abc"]}, 2),
        ("self.matches('^a+$')", TEXT, 314_574),
        ("self.contains('abc')", {**TEXT, "maxLength": 100}, 41),
        ("self.startsWith('abc')", TEXT, 2),
        ("!has(self.a) || self.a <= self.b", {"type": "object", "properties": {"a": INTEGER, "b": INTEGER}}, 7),
        ("self.all(x, x > 0)", {"type": "array", "items": INTEGER, "maxItems": 10}, 52),
        ("size(self) < 5", {"type": "array", "items": INTEGER}, 3),
        ("self.sum() > 1", {"type": "array", "items": INTEGER, "maxItems": 10}, 12),
        ("self in ['a', 'b']", TEXT, 13),
    ],
)
def test_costs(rule: str, node: dict[str, Any], cost: int):
    """The most a rule can cost follows from the bounds of the schema."""
    scope = declared(node)
    assert scope is not None
    assert highest_cost(check(rule, scope), scope) == cost


def test_a_rule_that_takes_too_long_is_stopped():
    """No expression holds the server for long, whatever its schema promised."""
    scope = declared({"type": "array", "items": INTEGER})
    assert scope is not None
    nested = Program(check("self.all(x, self.all(y, x + y >= 0))", scope))
    with pytest.raises(CostExceeded, match="actual cost limit exceeded"):
        nested.evaluate(list(range(2000)))

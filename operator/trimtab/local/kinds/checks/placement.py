"""What is wrong with where a pod may run: tolerations, affinity, spreading."""

from collections.abc import Mapping
from typing import Any

from trimtab.local.kinds.checks.gostructs import shown
from trimtab.local.kinds.checks.values import choice_errors, invalid_all, qualified_name_errors, selector_errors
from trimtab.local.names import label_problems, label_value_problems, labels_errors, subdomain_problems
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import FieldError, duplicate, invalid_value, required, unsupported

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_RANGE = "must be in the range 1-100"
_WHEN = ("DoNotSchedule", "ScheduleAnyway")
_NODE_POLICIES = ("Honor", "Ignore")


def placement_errors(spec: Object, at: str) -> list[FieldError]:
    errors = labels_errors(spec.get("nodeSelector") or {}, f"{at}.nodeSelector")
    errors += _affinity_errors(spec.get("affinity") or {}, f"{at}.affinity")
    errors += _spread_errors(spec.get("topologySpreadConstraints") or [], f"{at}.topologySpreadConstraints")
    return errors


def tolerations_errors(tolerations: list[Object], at: str) -> list[FieldError]:
    errors = []
    for index, toleration in enumerate(tolerations):
        errors += _toleration_errors(toleration, f"{at}[{index}]")
    return errors


def _toleration_errors(toleration: Object, at: str) -> list[FieldError]:
    key, operator = toleration.get("key") or "", toleration.get("operator") or ""
    value, effect = toleration.get("value") or "", toleration.get("effect") or ""
    errors = qualified_name_errors(key, f"{at}.key") if key else []
    if not key and operator != "Exists":
        text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        errors.append(invalid_value(f"{at}.operator", quote(operator), text))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        errors.append(invalid_value(f"{at}.effect", quote(effect), text))
    if operator in ("Equal", ""):
        if problems := label_value_problems(value):
            errors.append(invalid_value(f"{at}.operator", quote(value), ";".join(problems)))
    elif operator == "Exists":
        if value:
            text = "value must be empty when `operator` is 'Exists'"
            errors.append(invalid_value(f"{at}.operator", shown(toleration, "Toleration"), text))
    else:
        errors.append(unsupported(f"{at}.operator", quote(operator), ['"Equal"', '"Exists"']))
    return errors + (effect_errors(effect, f"{at}.effect") if effect else [])


def effect_errors(effect: str, at: str) -> list[FieldError]:
    return choice_errors(effect, at, EFFECTS)


def _affinity_errors(affinity: Object, at: str) -> list[FieldError]:
    errors = []
    node = affinity.get("nodeAffinity") or {}
    where = f"{at}.nodeAffinity"
    if node.get(_REQUIRED) is not None:
        errors += _node_selector_errors(node[_REQUIRED], f"{where}.{_REQUIRED}")
    for index, term in enumerate(node.get(_PREFERRED) or []):
        place = f"{where}.{_PREFERRED}[{index}]"
        errors += _weight_errors(term, place)
        errors += _node_term_errors(term.get("preference") or {}, f"{place}.preference", values=False)
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        for index, term in enumerate(pods.get(_REQUIRED) or []):
            errors += _pod_term_errors(term, f"{at}.{kind}.{_REQUIRED}[{index}]")
        for index, weighted in enumerate(pods.get(_PREFERRED) or []):
            place = f"{at}.{kind}.{_PREFERRED}[{index}]"
            errors += _weight_errors(weighted, place)
            errors += _pod_term_errors(weighted.get("podAffinityTerm") or {}, f"{place}.podAffinityTerm")
    return errors


def _weight_errors(term: Object, at: str) -> list[FieldError]:
    weight = term.get("weight", 0)
    return [] if 0 < weight <= 100 else [invalid_value(f"{at}.weight", str(weight), _RANGE)]


def _node_selector_errors(selector: Object, at: str) -> list[FieldError]:
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        return [required(f"{at}.nodeSelectorTerms", "must have at least one node selector term")]
    return [e for i, term in enumerate(terms) for e in _node_term_errors(term, f"{at}.nodeSelectorTerms[{i}]")]


def _node_term_errors(term: Object, at: str, *, values: bool = True) -> list[FieldError]:
    errors = []
    for index, expression in enumerate(term.get("matchExpressions") or []):
        errors += _node_expression_errors(expression, f"{at}.matchExpressions[{index}]", values=values)
    for index, expression in enumerate(term.get("matchFields") or []):
        errors += _node_field_errors(expression, f"{at}.matchFields[{index}]")
    return errors


def _node_expression_errors(expression: Object, at: str, *, values: bool) -> list[FieldError]:
    operator, given = expression.get("operator") or "", expression.get("values") or []
    errors = []
    if operator in ("In", "NotIn"):
        if not given:
            errors.append(required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if given:
            text = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(FieldError(f"{at}.values", "FieldValueForbidden", text))
    elif operator in ("Gt", "Lt"):
        if len(given) != 1:
            errors.append(required(f"{at}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"))
    else:
        errors.append(invalid_value(f"{at}.operator", quote(operator), "not a valid selector operator"))
    errors += qualified_name_errors(expression.get("key") or "", f"{at}.key")
    for index, value in enumerate(given if values else []):
        errors += invalid_all(f"{at}.values[{index}]", value, label_value_problems(value))
    return errors


def _node_field_errors(expression: Object, at: str) -> list[FieldError]:
    operator, values, key = expression.get("operator") or "", expression.get("values") or [], expression.get("key")
    errors = []
    if operator not in ("In", "NotIn"):
        errors.append(invalid_value(f"{at}.operator", quote(operator), "not a valid selector operator"))
    elif len(values) != 1:
        text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        errors.append(required(f"{at}.values", text))
    if key != "metadata.name":
        errors.append(invalid_value(f"{at}.key", quote(key or ""), "not a valid field selector key"))
        return errors
    for index, value in enumerate(values):
        errors += invalid_all(f"{at}.values[{index}]", value, subdomain_problems(value))
    return errors


def _pod_term_errors(term: Object, at: str) -> list[FieldError]:
    errors = selector_errors(term.get("labelSelector"), f"{at}.labelSelector")
    errors += selector_errors(term.get("namespaceSelector"), f"{at}.namespaceSelector")
    for name in term.get("namespaces") or []:
        errors += invalid_all(f"{at}.namespace", name, label_problems(name))
    key = term.get("topologyKey") or ""
    if not key:
        errors.append(required(f"{at}.topologyKey", "can not be empty"))
    return errors + qualified_name_errors(key, f"{at}.topologyKey")


def _spread_errors(constraints: list[Object], at: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, constraint in reversed(list(enumerate(constraints))):
        pair = (constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or "")
        errors[:0] = _constraint_errors(constraint, f"{at}[{index}]", repeated=pair in seen)
        seen.add(pair)
    return errors


def _constraint_errors(constraint: Mapping[str, Any], at: str, *, repeated: bool) -> list[FieldError]:
    skew, key = constraint.get("maxSkew", 0), constraint.get("topologyKey") or ""
    when, least = constraint.get("whenUnsatisfiable") or "", constraint.get("minDomains")
    errors = [] if skew > 0 else [invalid_value(f"{at}.maxSkew", str(skew), "must be greater than zero")]
    errors += [] if key else [required(f"{at}.topologyKey", "can not be empty")]
    if when not in _WHEN:
        errors.append(unsupported(f"{at}.whenUnsatisfiable", quote(when), [quote(w) for w in _WHEN]))
    if repeated:
        errors.append(duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", quote(f"{{{key}, {when}}}")))
    if least is not None and least <= 0:
        errors.append(invalid_value(f"{at}.minDomains", str(least), "must be greater than zero"))
    if least is not None and when != "DoNotSchedule":
        text = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
        errors.append(invalid_value(f"{at}.minDomains", str(least), text))
    for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        policy = constraint.get(name)
        if policy is not None and policy not in _NODE_POLICIES:
            errors.append(unsupported(f"{at}.{name}", quote(policy), [quote(p) for p in _NODE_POLICIES]))
    return errors + selector_errors(constraint.get("labelSelector"), f"{at}.labelSelector")

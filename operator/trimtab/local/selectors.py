"""LabelSelector objects, as specs carry them: what they select, and how they read."""

from collections.abc import Callable, Mapping

from trimtab.local.objects import Object

Matcher = Callable[[Object], bool]


def matches_label_selector(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector object selects `labels`; an empty selector selects all, None nothing."""
    if selector is None:
        return False
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression_holds(e, labels) for e in selector.get("matchExpressions") or [])


def _expression_holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def selector_text(selector: Object | None) -> str:
    """A LabelSelector as the text that tables and scale subresources carry; keys and values in order."""
    parts = [(key, f"{key}={value}") for key, value in ((selector or {}).get("matchLabels") or {}).items()]
    parts += [(e["key"], _expression_text(e)) for e in (selector or {}).get("matchExpressions") or []]
    return ",".join(text for _, text in sorted(parts, key=lambda part: part[0]))


def _expression_text(expression: Object) -> str:
    key, values = expression["key"], ",".join(sorted(expression.get("values") or []))
    match expression["operator"]:
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "Exists":
            return str(key)
    return f"!{key}"

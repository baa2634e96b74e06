"""What writers are warned of: nothing that is refused, but hardly what they want."""

from trimtab.local.names import label_problems
from trimtab.local.objects import Object, quote
from trimtab.local.quantities import quantity
from trimtab.local.schema.formats import unknown_formats

_TEMPLATES = {
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
}
_SURPRISE = "which can result in surprising behavior; a DNS label is recommended"
_DUPLICATE_OWNERS = (
    ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject "
    "such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}"
)


def advice(resource: str, new: Object, old: Object | None) -> list[str]:
    """The warnings about a built-in object that is made, or that changed from `old`."""
    spec = new.get("spec") or {}
    if resource == "customresourcedefinitions.apiextensions.k8s.io":
        before = _unknown_formats(old["spec"]) if old else []
        return [f"unrecognized format {quote(form)}" for form in _unknown_formats(spec) if form not in before]
    if resource == "pods":
        return [*_name_advice(new, "the Pod's hostname"), *_pod_advice(spec, "spec")] if old is None else []
    if resource not in _TEMPLATES or (old is not None and old.get("spec") == spec):
        return []
    found = _name_advice(new, "Pod names and hostnames") if old is None and resource != "daemonsets.apps" else []
    return found + _pod_advice((spec.get("template") or {}).get("spec") or {}, "spec.template.spec")


def _unknown_formats(spec: Object) -> list[str]:
    schemas = [(version.get("schema") or {}).get("openAPIV3Schema") or {} for version in spec.get("versions") or []]
    return list(dict.fromkeys(form for schema in schemas for form in unknown_formats(schema)))


def _name_advice(obj: Object, used_in: str) -> list[str]:
    problems = label_problems(obj["metadata"]["name"])
    return [f"metadata.name: this is used in {used_in}, {_SURPRISE}: [{' '.join(problems)}]"] if problems else []


def _pod_advice(spec: Object, at: str) -> list[str]:
    found = [
        f"{at}.imagePullSecrets[{index}].name: invalid empty name {quote('')}"
        for index, secret in enumerate(spec.get("imagePullSecrets") or [])
        if not secret.get("name")
    ]
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or []):
            found += _container_advice(container, f"{at}.{group}[{index}]")
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        found.append(f"{at}.terminationGracePeriodSeconds: {text}")
    return found


def _container_advice(container: Object, at: str) -> list[str]:
    found = []
    for kind in ("limits", "requests"):
        for name, value in ((container.get("resources") or {}).get(kind) or {}).items():
            if name in ("memory", "ephemeral-storage") and quantity(value) % 1:
                text = f"fractional byte value {quote(value)} is invalid, must be an integer"
                found.append(f"{at}.resources.{kind}[{name}]: {text}")
    return found + _variable_advice(container.get("env") or [], at) + _port_advice(container.get("ports") or [], at)


def _variable_advice(variables: list[Object], at: str) -> list[str]:
    """A variable that is set again, unless that refers to its own earlier value."""
    found = []
    names: set[str] = set()
    for index, variable in enumerate(variables):
        name = variable.get("name", "")
        if name in names and f"$({name})" not in (variable.get("value") or ""):
            text = f"hides previous definition of {quote(name)}, which may be dropped when using apply"
            found.append(f"{at}.env[{index}]: {text}")
        names.add(name)
    return found


def _port_advice(ports: list[Object], at: str) -> list[str]:
    found = []
    first: dict[tuple[object, ...], int] = {}
    for index, port in enumerate(ports):
        key = tuple(port.get(name) for name in ("containerPort", "protocol", "hostPort", "hostIP"))
        if key in first:
            found.append(f"{at}.ports[{index}]: duplicate port definition with {at}.ports[{first[key]}]")
        first.setdefault(key, index)
    return found


def finalizer_advice(metadata: Object, before: Object) -> list[str]:
    """Finalizers of custom objects should say whose they are."""
    known = before.get("finalizers") or []
    text = (
        "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other "
        "finalizer writers"
    )
    added = [f for f in metadata.get("finalizers") or [] if f not in known and "/" not in f]
    return [f"metadata.finalizers: {quote(finalizer)}: {text}" for finalizer in added]


def without_repeated_owners(metadata: Object) -> tuple[Object, list[str]]:
    """The metadata with every owner once, and what its writer is to be told of it."""
    owners = metadata.get("ownerReferences") or []
    once = [owner for index, owner in enumerate(owners) if owner not in owners[:index]]
    if len(once) == len(owners):
        return metadata, []
    again = [str(o.get("uid")) for index, o in enumerate(owners) if o in owners[:index]]
    repeated = list(dict.fromkeys(again))
    return {**metadata, "ownerReferences": once}, [_DUPLICATE_OWNERS.format(", ".join(repeated))]

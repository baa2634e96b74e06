"""What the server counts, in the text form that Prometheus reads."""

from trimtab.local.registry import Registry

_OBJECTS = "apiserver_storage_objects"


def exposition(registry: Registry) -> str:
    """Stored objects by resource, under the name that kube-apiserver gives them."""
    lines = [f"# HELP {_OBJECTS} Number of stored objects, by resource.", f"# TYPE {_OBJECTS} gauge"]
    for resource, number in sorted(registry.counts().items()):
        lines.append(f'{_OBJECTS}{{resource="{resource}"}} {number}')
    return "\n".join([*lines, ""])

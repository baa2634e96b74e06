"""Under which names the built-in types are published in OpenAPI documents.

`packages.txt` lists the types of every package but core's: `package: Type Type`.
"""

from functools import cache
from importlib import resources

_CORE = "io.k8s.api.core.v1"
_TOLD_APART = "RbacV1"  # how the table of types sets off a type whose name another group has, too


@cache
def _packages() -> dict[str, str]:
    text = resources.files("trimtab.local.schema").joinpath("packages.txt").read_text("utf-8")
    entries = (line.partition(": ") for line in text.replace("\n  ", " ").splitlines())
    return {name: package for package, _, names in entries for name in names.split()}


def published_name(type_name: str) -> str:
    """The name of a type's schema, such as io.k8s.api.core.v1.PodSpec."""
    package = _packages().get(type_name, _CORE)
    return f"{package}.{type_name.rpartition('.')[2].removeprefix(_TOLD_APART)}"

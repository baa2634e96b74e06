# ruff: noqa: INP001 - a script, no part of the package
"""Writes the Helm chart from manifests/ and crds/, the only truth: `python charts/generate.py [--check]`.

A template is the very text of a manifest with some of its values replaced. What is replaced has to be found, so a
manifest that changes its shape fails here instead of losing a value.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "trimtab"
HEADER = "# Written by charts/generate.py from {source}; change that instead.\n"
NAMESPACE = "trimtab-system"
SETTING = re.compile(
    r"^(?P<indent> *)- \{name: TRIMTAB_(?P<name>(?!\w+_PORT)[A-Z_]+), value: (?P<value>.+)\}$", re.MULTILINE
)


class Template(NamedTuple):
    """A template, what it is made from, and the value that switches it on."""

    name: str
    sources: tuple[str, ...]
    when: str | None = None
    each: str | None = None


TEMPLATES = (
    Template("crds.yaml", ("crds/trimtab.dev_optimizedmodels.yaml", "crds/trimtab.dev_capacitypools.yaml"), "crds"),
    Template("namespace.yaml", ("manifests/base/namespace.yaml",), "namespace"),
    Template("rbac.yaml", ("manifests/base/rbac.yaml",)),
    Template("operator.yaml", ("manifests/base/operator.yaml",)),
    Template("budget.yaml", ("manifests/base/budget.yaml",)),
    Template("networkpolicy.yaml", ("manifests/base/networkpolicy.yaml",), "networkPolicies"),
    Template("models.yaml", ("manifests/models/networkpolicies.yaml",), "networkPolicies", "modelNamespaces"),
    Template(
        "monitoring.yaml",
        ("manifests/components/monitoring/podmonitors.yaml", "manifests/components/monitoring/dashboard.yaml"),
        "monitoring",
    ),
)


def _optional(indent: int, field: str, value: str, written: str = "{field}: {{{{ toJson . }}}}") -> str:
    """Return lines that are there when a value is set."""
    space = " " * indent
    return (
        f"{space}{{{{- with $.Values.operator.{value} }}}}\n"
        f"{space}{written.format(field=field)}\n"
        f"{space}{{{{- end }}}}\n"
    )


_POD = "      enableServiceLinks: false\n"
_POD_FIELDS = ("imagePullSecrets", "nodeSelector", "tolerations", "priorityClassName")
_PORTS = "        ports:\n        - {name: health"
_ACCOUNT = "kind: ServiceAccount\nmetadata:\n  name: trimtab-operator\n"
# In a file: the text, and what takes its place.
REPLACED: dict[str, tuple[tuple[str, str], ...]] = {
    "manifests/base/operator.yaml": (
        ("  replicas: 2\n", "  replicas: {{ $.Values.operator.replicas }}\n"),
        ("image: trimtab/operator:0.1.0\n", "image: {{ $.Values.images.operator | quote }}\n"),
        (_POD, _POD + "".join(_optional(6, field, field) for field in _POD_FIELDS)),
        (_PORTS, _optional(8, "", "extraEnv", "{{{{- toYaml . | nindent 8 }}}}") + _PORTS),
        (
            "          requests: {cpu: 100m, memory: 128Mi}\n",
            "          requests: {{ toJson $.Values.operator.requests }}\n",
        ),
        ("          limits: {memory: 512Mi}\n", "          limits: {{ toJson $.Values.operator.limits }}\n"),
    ),
    "manifests/base/rbac.yaml": ((_ACCOUNT, _ACCOUNT + _optional(2, "annotations", "serviceAccountAnnotations")),),
}
VALUES = """\
# Applying manifests/ and installing this chart with these values make the same objects.
# Whether the chart brings the CustomResourceDefinitions. They stay when it is uninstalled, and with them all models.
crds: true
# Whether the chart makes its namespace; without, label yours pod-security.kubernetes.io/enforce: restricted.
namespace: false
# Whether only what has to may reach the operator, and pods in the namespaces below.
networkPolicies: true
# Namespaces with models: each gets NetworkPolicies for gateways, replicas and Jobs.
modelNamespaces: []
# PodMonitors and a dashboard, for clusters with the Prometheus operator and Grafana.
monitoring: false
images:
{images}
operator:
  # One works, the others wait for its Lease.
  replicas: 2
  requests: {{cpu: 100m, memory: 128Mi}}
  limits: {{memory: 512Mi}}
  # For roles of clouds, for example eks.amazonaws.com/role-arn.
  serviceAccountAnnotations: {{}}
  # More environment variables, as in a container.
  extraEnv: []
  imagePullSecrets: []
  nodeSelector: {{}}
  tolerations: []
  priorityClassName: ""
# The options of `trimtab operator`.
settings:
{settings}"""


def camel(name: str) -> str:
    first, *others = name.lower().split("_")
    return first + "".join(part.capitalize() for part in others)


def template(made: Template) -> str:
    """Return a template's text."""
    parts = []
    for source in made.sources:
        text = (ROOT / source).read_text().replace("{{", '{{ "{{" }}')
        for old, new in REPLACED.get(source, ()):
            if text.count(old) != 1:
                raise SystemExit(
                    f"{source}: {old!r} is there {text.count(old)} times, not once; see charts/generate.py"
                )
            text = text.replace(old, new)
        text = SETTING.sub(_setting, text).replace(NAMESPACE, "{{ $.Release.Namespace }}")
        if made.name == "crds.yaml":
            text = text.replace("\nmetadata:\n", '\nmetadata:\n  annotations: {"helm.sh/resource-policy": keep}\n', 1)
        if made.each:
            text = text.replace("\nmetadata:\n", "\nmetadata:\n  namespace: {{ . }}\n")
        parts.append(text)
    body = "---\n".join(parts)
    if made.each:
        body = f"{{{{- range $.Values.{made.each} }}}}\n---\n{body}{{{{- end }}}}\n"
    if made.when:
        body = f"{{{{- if $.Values.{made.when} }}}}\n{body}{{{{- end }}}}\n"
    return HEADER.format(source=", ".join(made.sources)) + body


def _setting(found: re.Match[str]) -> str:
    name, value = found["name"], f"$.Values.settings.{camel(found['name'])}"
    if name.endswith("_IMAGE"):
        value = f"$.Values.images.{name.removesuffix('_IMAGE').lower()}"
    return f"{found['indent']}- {{name: TRIMTAB_{name}, value: {{{{ {value} | quote }}}}}}"


def values() -> str:
    """Return values.yaml: the operator's settings are those of the Deployment, with its comments."""
    text = (ROOT / "manifests/base/operator.yaml").read_text()
    (container,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
    images = [f"  operator: {container['image']}"]
    settings = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not (found := SETTING.match(line)):
            continue
        if found["name"].endswith("_IMAGE"):
            images.append(f"  {found['name'].removesuffix('_IMAGE').lower()}: {yaml.safe_load(found['value'])}")
        else:
            if lines[number - 1].strip().startswith("#"):
                settings.append(f"  {lines[number - 1].strip()}")
            settings.append(f"  {camel(found['name'])}: {json.dumps(str(yaml.safe_load(found['value'])))}")
    return VALUES.format(images="\n".join(images), settings="\n".join(settings) + "\n")


def schema(default: Any) -> dict[str, Any]:
    """Return the schema of values like `default`: the same types and, in objects that are not empty, no other names."""
    if isinstance(default, dict):
        properties = {name: schema(value) for name, value in default.items()}
        return {"type": "object", **({"additionalProperties": False, "properties": properties} if default else {})}
    if isinstance(default, bool):
        return {"type": "boolean"}
    if isinstance(default, int):
        return {"type": "integer", "minimum": 0}
    return {"type": "array" if isinstance(default, list) else "string"}


def _values_schema() -> str:
    made = schema(yaml.safe_load(values()))
    quantities = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
    made["properties"]["operator"]["properties"] |= {"requests": quantities, "limits": quantities}
    made["properties"]["global"] = {"type": "object"}
    return json.dumps({"$schema": "https://json-schema.org/draft-07/schema#", **made}, indent=2) + "\n"


def chart() -> dict[str, str]:
    """Return the chart's files by their names."""
    version = re.search(r'__version__ = "(.+)"', (ROOT / "operator/trimtab/version.py").read_text())
    if version is None:
        raise SystemExit("operator/trimtab/version.py names no version")
    about = {
        "apiVersion": "v2",
        "name": "trimtab",
        "description": "One object in, a served model out: smaller, proven, balanced, on the cheapest nodes",
        "type": "application",
        "version": version[1],
        "appVersion": version[1],
        "kubeVersion": ">=1.29.0-0",
    }
    return {
        "Chart.yaml": HEADER.format(source="operator/trimtab/version.py")
        + yaml.safe_dump(about, sort_keys=False, width=200),
        "values.yaml": HEADER.format(source="manifests/base/operator.yaml") + values(),
        "values.schema.json": _values_schema(),
        **{f"templates/{made.name}": template(made) for made in TEMPLATES},
    }


def main(check: bool) -> int:
    """Write the chart, or say which of its files are stale; returns the exit code."""
    wanted = {CHART / name: text for name, text in chart().items()}
    there = {path for path in CHART.rglob("*") if path.is_file()}
    stale = [path for path, text in wanted.items() if path not in there or path.read_text() != text]
    stale += sorted(there - wanted.keys())
    if check:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        if names:
            sys.stderr.write(f"error: {names} stale; run `make chart` and commit the result\n")
        return 1 if names else 0
    for path in stale:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))

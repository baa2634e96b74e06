"""Pod Security admission: which level a namespace asks for, and who is refused or warned by it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from trimtab.local import statuses
from trimtab.local.access.podchecks import violations
from trimtab.local.access.tokens import Find
from trimtab.local.objects import Object, quote
from trimtab.local.statuses import ApiError, FieldError

Judge = Callable[[Object, Object | None, list[str] | None], None]
"""Called with the new state, the present one and where warnings go; raises ApiError for what is refused."""

_PREFIX = "pod-security.kubernetes.io/"
_MODES = ("enforce", "audit", "warn")
_LEVELS = ("privileged", "baseline", "restricted")
_VERSION = re.compile(r"latest|v1\.(0|[1-9][0-9]*)")
_BAD_LEVEL = "must be one of privileged, baseline, restricted"
_BAD_VERSION = 'must be "latest" or "v1.x"'


class PodSecurity:
    """Judges pods, what makes pods, and the namespaces that ask for a level."""

    def __init__(self, find: Find) -> None:
        self._find = find

    def judges(self) -> Mapping[str, Judge]:
        """What to ask about which resource."""
        makers = ("deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch")
        return {
            "namespaces": _judge_namespace,
            "pods": self._judge_pod,
            "replicationcontrollers": self._judge_maker,
            "cronjobs.batch": self._judge_maker,
            **dict.fromkeys(makers, self._judge_maker),
        }

    def _judge_pod(self, pod: Object, old: Object | None, warnings: list[str] | None) -> None:
        if old is not None and _same_security(pod, old):
            return
        labels = self._labels(pod)
        level, shown = _asked(labels, "enforce")
        if found := violations(pod["spec"], level):
            name = pod["metadata"].get("name", "")
            text = f'pods "{name}" is forbidden: violates PodSecurity "{shown}": {", ".join(found)}'
            raise ApiError(403, "Forbidden", text, {"name": name, "kind": "pods"})
        _warn(pod["spec"], labels, warnings)

    def _judge_maker(self, maker: Object, _old: Object | None, warnings: list[str] | None) -> None:
        """What makes pods is only warned about: its pods are judged when they come."""
        spec: Object = maker["spec"]
        spec = spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec
        _warn((spec.get("template") or {}).get("spec") or {}, self._labels(maker), warnings)

    def _labels(self, obj: Object) -> Mapping[str, str]:
        namespace = self._find("namespaces", "", obj["metadata"]["namespace"])
        return namespace["metadata"].get("labels") or {} if namespace is not None else {}


def _asked(labels: Mapping[str, str], mode: str) -> tuple[str, str]:
    """The level of a mode, and how it is shown: with its version. A level that is none counts as the strictest."""
    level = labels.get(f"{_PREFIX}{mode}", "privileged")
    version = labels.get(f"{_PREFIX}{mode}-version", "latest")
    return (level if level in _LEVELS else "restricted"), f"{level}:{version}"


def _warn(spec: Object, labels: Mapping[str, str], warnings: list[str] | None) -> None:
    level, shown = _asked(labels, "warn")
    if warnings is not None and (found := violations(spec, level)):
        warnings.append(f'would violate PodSecurity "{shown}": {", ".join(found)}')


def _same_security(pod: Object, old: Object) -> bool:
    """Whether an update changes nothing that the levels are about: labels, images and the like may."""

    def part(spec: Object) -> Object:
        groups = ("initContainers", "containers", "ephemeralContainers")
        bare = {g: [{**c, "image": ""} for c in spec.get(g) or ()] for g in groups}
        return {**spec, **bare, "tolerations": None, "activeDeadlineSeconds": None, "nodeName": None}

    return part(pod["spec"]) == part(old["spec"])


def _judge_namespace(namespace: Object, old: Object | None, _warnings: list[str] | None) -> None:
    labels = namespace["metadata"].get("labels") or {}
    if errors := _label_errors(labels):
        before = ((old or {}).get("metadata") or {}).get("labels") or {}
        if old is None or _label_errors(before) != errors:
            raise statuses.invalid("", "Namespace", namespace["metadata"].get("name", ""), errors)


def _label_errors(labels: Mapping[str, str]) -> list[FieldError]:
    errors = []
    for mode in _MODES:
        level, version = f"{_PREFIX}{mode}", f"{_PREFIX}{mode}-version"
        if level in labels and labels[level] not in _LEVELS:
            errors.append(statuses.invalid_value(f"metadata.labels[{level}]", quote(labels[level]), _BAD_LEVEL))
        if version in labels and not _VERSION.fullmatch(labels[version]):
            errors.append(statuses.invalid_value(f"metadata.labels[{version}]", quote(labels[version]), _BAD_VERSION))
    return errors

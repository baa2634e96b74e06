"""The pod template that pods, Deployments, ReplicaSets and Jobs share: its defaults."""

from trimtab.local.objects import Object
from trimtab.local.quantities import quantity

_TERMINATION_PATH = "/dev/termination-log"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def default_pod_spec(spec: Object) -> None:
    """Fill in what every pod has, in place."""
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or []:
            _default_container(container)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if spec.get("hostNetwork"):
        for port in (p for c in spec.get("containers") or [] for p in c.get("ports") or []):
            if not port.get("hostPort"):
                port["hostPort"] = port.get("containerPort", 0)
    for volume in spec.get("volumes") or []:
        _default_volume(volume)


def _default_container(container: Object) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", _TERMINATION_PATH)
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or []:
        if field := (variable.get("valueFrom") or {}).get("fieldRef"):
            field.setdefault("apiVersion", "v1")
    for name in _PROBES:
        if probe := container.get(name):
            _default_probe(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict) and (get := hook.get("httpGet")):
            _default_http_get(get)


def default_requests(spec: Object) -> None:
    """In a pod, not in a template, a limit without a request is the request too; in place."""
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        resources = container["resources"]
        limits = resources.get("limits") or {}
        missing = {k: v for k, v in limits.items() if k not in (resources.get("requests") or {})}
        if missing:
            resources["requests"] = {**(resources.get("requests") or {}), **missing}


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    tag = name.partition("@")[0].partition(":")[2]
    return "Always" if "@" not in name and tag in ("", "latest") else "IfNotPresent"


def _default_probe(probe: Object) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    if get := probe.get("httpGet"):
        _default_http_get(get)
    if grpc := probe.get("grpc"):
        grpc.setdefault("service", "")


def _default_http_get(get: Object) -> None:
    get.setdefault("path", "/")
    get.setdefault("scheme", "HTTP")


def _default_volume(volume: Object) -> None:
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if volume.get(source) is not None:
            volume[source].setdefault("defaultMode", 420)
    if (path := volume.get("hostPath")) is not None:
        path.setdefault("type", "")
    for item in ((volume.get("downwardAPI") or {}).get("items")) or []:
        if field := item.get("fieldRef"):
            field.setdefault("apiVersion", "v1")
    for source in ((volume.get("projected") or {}).get("sources")) or []:
        if token := source.get("serviceAccountToken"):
            token.setdefault("expirationSeconds", 3600)
        for item in (source.get("downwardAPI") or {}).get("items") or []:
            if field := item.get("fieldRef"):
                field.setdefault("apiVersion", "v1")
    if not [key for key in volume if key != "name"]:
        volume["emptyDir"] = {}


def quality_class(spec: Object) -> str:
    """The pod's QoS class: Guaranteed, Burstable or BestEffort."""
    anything, guaranteed = False, True
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            anything = anything or name in requests or name in limits
            same = name in limits and quantity(requests.get(name, limits[name])) == quantity(limits[name])
            guaranteed = guaranteed and same
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"

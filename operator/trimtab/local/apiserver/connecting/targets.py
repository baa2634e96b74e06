"""Which pod and container a connection is for."""

from __future__ import annotations

from trimtab.local import pods
from trimtab.local.apiserver.calls import Call
from trimtab.local.entering import PodAccess
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError, bad_request


def reachable_pod(call: Call) -> tuple[PodAccess, Object]:
    """The pod that the call names, and the way to it.

    Raises:
        ApiError: 404 where there is no such pod, 400 while it is on no node.
    """
    pod = call.registry.get("pods", call.target.name, call.namespace)
    access = call.registry.pod_access
    if access is None:
        raise ApiError(503, "ServiceUnavailable", "no node agent runs pods yet; try again in a moment", {})
    if pods.node_name(pod) is None:
        raise bad_request(f"pod {call.target.name} does not have a host assigned")
    return access, pod


def chosen_container(pod: Object, wanted: str) -> str:
    """The container that is meant; a pod with several needs it said. Raises ApiError 400."""
    name = pod["metadata"]["name"]
    main = [str(c["name"]) for c in pods.containers(pod)]
    known = [*(str(c["name"]) for c in pods.init_containers(pod)), *main]
    if wanted:
        if wanted not in known:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(main) == 1:
        return main[0]
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(known)}]")


def pod_address(pod: Object) -> str:
    """Where the pod can be reached. Raises ApiError 400 while it does not run."""
    address = (pod.get("status") or {}).get("podIP")
    if not address or pod["status"].get("phase") != "Running":
        found = (pod.get("status") or {}).get("phase") or "Pending"
        raise bad_request(f"unable to forward port because pod is not running. Current status={found}")
    return str(address)

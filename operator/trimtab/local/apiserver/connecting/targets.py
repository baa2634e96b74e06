"""Which pod and container a connection is for."""

from __future__ import annotations

from trimtab.local import pods
from trimtab.local.apiserver.calls import Call
from trimtab.local.entering import PodAccess
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError, bad_request


def called_pod(call: Call) -> Object:
    """The pod that the call names. Raises ApiError 404."""
    return call.registry.get("pods", call.target.name, call.namespace)


def way_to(call: Call, pod: Object) -> PodAccess:
    """The way to a pod.

    Raises:
        ApiError: 400 while the pod is on no node.
    """
    if pods.node_name(pod) is None:
        raise bad_request(f"pod {call.target.name} does not have a host assigned")
    if call.registry.pod_access is None:
        raise ApiError(503, "ServiceUnavailable", "no node agent runs pods yet; try again in a moment", {})
    return call.registry.pod_access


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


def port_number(text: str) -> int | None:
    """The port that a text names, None where it names none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if 0 < int(text) < 65_536 else None

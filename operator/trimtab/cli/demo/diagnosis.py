"""What to tell when a phase failed: the model's conditions, and the last lines of the pods that matter."""

from __future__ import annotations

from typing import Any

from trimtab.cli.demo.assets import OPERATOR
from trimtab.cli.demo.world import World, ready
from trimtab.effects.kubernetes import Cluster
from trimtab.errors import NotYet

_LINES = 12
_PODS = 4


async def diagnosis(cluster: Cluster, world: World) -> str:
    """Return the model's conditions and the logs of the operator and of pods that are not well."""
    parts = [f"  {condition}" for condition in world.conditions()]
    for pod in _suspects(world.pods)[:_PODS]:
        meta = pod["metadata"]
        parts.append(f"pod {meta['namespace']}/{meta['name']}: {_state(pod)}")
        try:
            log = await cluster.pod_log(meta["namespace"], meta["name"], _LINES)
        except NotYet as error:
            log = f"(no log: {error.message})"
        parts += [f"  | {line}" for line in log.splitlines()]
    return "\n".join(parts)


def _suspects(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return pods that failed or do not become ready, then the operator's."""
    troubled = [pod for pod in pods if not ready(pod) and pod.get("status", {}).get("phase") != "Succeeded"]
    operator = [pod for pod in pods if pod["metadata"]["name"].startswith(OPERATOR) and pod not in troubled]
    return [*troubled[: _PODS - 1], *operator]


def _state(pod: dict[str, Any]) -> str:
    """Return phase and, where there is one, the reason of a container's state."""
    status = pod.get("status", {})
    words = [status.get("phase", "Unknown")]
    for container in status.get("containerStatuses", []):
        for state in container.get("state", {}).values():
            words += [str(state[key]) for key in ("reason", "message") if state.get(key)]
    words += [c["message"] for c in status.get("conditions", []) if c["status"] == "False" and c.get("message")]
    return ", ".join(words)

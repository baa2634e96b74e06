"""Who may be hit: nobody without whom nothing would be left that answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import aiohttp

from trimtab.api.gateway import EndpointState, GatewayStats
from trimtab.api.names import COMPONENT_LABEL, GATEWAY_STATS_PORT, MODEL_LABEL

Object = dict[str, Any]
_TIMEOUT = aiohttp.ClientTimeout(total=2)


def of(pods: Iterable[Object], component: str) -> list[Object]:
    """Return the pods that run and stay, by name."""
    found = [
        pod
        for pod in pods
        if (pod["metadata"].get("labels") or {}).get(COMPONENT_LABEL) == component
        and not pod["metadata"].get("deletionTimestamp")
        and pod.get("status", {}).get("phase") == "Running"
    ]
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def node_of(pod: Object) -> str:
    return str(pod["spec"].get("nodeName", ""))


class Knowledge:
    """What the gateways know: an object may say Ready of a replica that they have not heard of yet."""

    def __init__(self, gateways: list[Object], reports: list[GatewayStats | None]) -> None:
        self._reports = reports
        self._gateways = gateways

    @classmethod
    async def ask(cls, pods: Iterable[Object]) -> Knowledge:
        """Ask every gateway that is ready."""
        gateways = [pod for pod in of(pods, "gateway") if is_ready(pod)]
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            return cls(gateways, [await _report(session, pod["status"]["podIP"]) for pod in gateways])

    def gateways(self, without: set[str], node: str = "") -> int:
        """How many gateways work, apart from those with these uids and those on a node."""
        pairs = zip(self._gateways, self._reports, strict=True)
        return sum(
            report is not None and report.proxy_up and pod["metadata"]["uid"] not in without and node_of(pod) != node
            for pod, report in pairs
        )

    def spared(self, model: str, without: set[str], node: str = "") -> bool:
        """Whether each gateway has a healthy replica of the model, apart from pods with these names or on a node."""
        return bool(self._reports) and all(
            report is not None
            and any(
                endpoint.state is EndpointState.HEALTHY and endpoint.pod not in without and endpoint.node != node
                for endpoint in (report.models[model].endpoints if model in report.models else ())
            )
            for report in self._reports
        )


async def _report(session: aiohttp.ClientSession, address: str) -> GatewayStats | None:
    try:
        async with session.get(f"http://{address}:{GATEWAY_STATS_PORT}/v1/stats") as response:
            response.raise_for_status()
            return GatewayStats.model_validate_json(await response.read())
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None


def model_of(pod: Object) -> str:
    return str(pod["metadata"]["labels"][MODEL_LABEL])

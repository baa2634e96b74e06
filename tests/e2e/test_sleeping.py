"""Scale to zero with everything real: requests wait for the first replica, and later there is none again."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from trimtab.api.names import GATEWAY_STATS_PORT
from trimtab.effects import kinds

pytestmark = [pytest.mark.e2e, pytest.mark.needs("nodes", "this-machine"), pytest.mark.timeout(420)]

REQUESTS = 20
WAKE = re.compile(r'trimtab_gateway_wake_seconds\{[^}]*model="digits"[^}]*\} (\S+)')


async def wakes(world: Any) -> list[float]:
    """What the gateways say of the last time that each woke the model."""
    found = []
    pods = await world.cluster.list(kinds.PODS, world.namespace, labels="app.kubernetes.io/component=gateway")
    async with aiohttp.ClientSession() as session:
        for pod in pods:
            url = f"http://{pod['status']['podIP']}:{GATEWAY_STATS_PORT}/metrics"
            async with session.get(url) as response:
                found += [float(value) for value in WAKE.findall(await response.text())]
    return found


async def test_requests_wake_a_model_and_wait_for_it(world: Any, operator: Any, customer: Path, exported: str) -> None:
    """All of those that come while it sleeps are answered, the time is told, and after the quiet it sleeps again.

    The next replica starts from what the first one left on its node, with the store away.
    """
    privileged = {"pod-security.kubernetes.io/enforce": "privileged"}  # a hostPath is not for "restricted"
    space = {"name": world.namespace, "labels": privileged}
    await world.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": space})
    spec: dict[str, Any] = {
        "source": {"uri": exported},
        "compression": {"preset": "None"},
        "guardrail": {"dataset": {"uri": (customer / "digits.npz").as_uri()}, "mode": "Report"},
        "serving": {
            "minReplicas": 0,
            "maxReplicas": 1,
            "prefetch": True,
            "resources": {"requests": {"cpu": "100m"}},
            "scaling": {"idleAfter": "2s"},
        },
    }
    await world.cluster.apply(world.model(**spec))
    asleep = await world.until(
        "sleep", lambda s: (s.get("summary") or {}).get("status") == "Asleep" and s.get("url"), timeout=180
    )
    url = f"{asleep['status']['url']}/v2/models/digits"
    assert asleep["status"]["replicas"]["ready"] == 0

    async def ask(session: aiohttp.ClientSession) -> tuple[int, Any]:
        async with session.get(url) as response:
            return response.status, await response.json()

    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        answers = await asyncio.gather(*(ask(session) for _ in range(REQUESTS)))
    waited = time.monotonic() - began
    assert [(status, answer["name"]) for status, answer in answers] == [(200, "digits")] * REQUESTS, answers
    told = await wakes(world)
    assert told, "no gateway says how long it took"
    assert all(0 < seconds <= waited for seconds in told), (told, waited)
    woken = await world.until("a replica", lambda s: s["replicas"]["ready"] == 1)
    assert any("-> 1 replicas" in entry["message"] for entry in woken["status"]["decisions"])
    await world.until(
        "sleep again", lambda s: s["summary"]["status"] == "Asleep" and s["replicas"].get("ready", 0) == 0
    )
    (kept,) = [entry.name for entry in operator.nodes.iterdir() if entry.is_dir()]
    assert kept == woken["status"]["activeRevision"]["artifact"]["digest"].replace(":", "-")
    operator.artifacts.rename(operator.artifacts.with_name("away"))
    async with aiohttp.ClientSession() as session:
        assert (await ask(session))[0] == 200

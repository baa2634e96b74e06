"""A whole Trimtab for a chaotic run: two operators, models with traffic to them, and everything that can fail."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import yaml
from faults.asking import Asked, asking
from faults.clocks import ShiftedClock
from faults.cluster import faulty_cluster
from faults.models import Wishes, pools
from faults.plan import Event, plan
from faults.running import Chaos
from faults.storage import FaultyS3, imitated_s3, small_disk, stored

from trimtab.api.crds import crds
from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster

NAMESPACE = "chaos"
TERMS = {
    "TRIMTAB_LEASE_NAMESPACE": "trimtab-system",
    "TRIMTAB_LEASE_DURATION": "8s",
    "TRIMTAB_LEASE_RENEW_DEADLINE": "6s",
    "TRIMTAB_LEASE_RETRY": "1s",
}
_STARTS_WITHIN_S = 240.0


def e2e() -> Any:
    """Return the parts of the end-to-end tests, whose operator this is."""
    if (known := sys.modules.get("e2e_parts")) is not None:
        return known
    path = Path(__file__).parents[2] / "e2e" / "conftest.py"
    spec = importlib.util.spec_from_file_location("e2e_parts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass
class Outcome:
    """What a run found."""

    events: tuple[Event, ...]
    chaos: Chaos
    asked: dict[str, Asked] = field(default_factory=dict)
    unfulfilled: dict[str, str] = field(default_factory=dict)
    """What never came, by model."""
    converged_s: float = 0.0
    """From the end of the last fault until everything was as users want it."""
    left: list[str] = field(default_factory=list)
    """What was there after every model was deleted."""
    tracebacks: list[str] = field(default_factory=list)
    """First lines of what the operators failed with."""

    def problems(self) -> list[str]:
        """Everything that should not have been."""
        found = [f"{name}: {text}" for name, asked in self.asked.items() for text in asked.failures]
        found += [f"{name}: {why}" for name, why in self.unfulfilled.items()]
        found += self.chaos.invariants.violations
        found += [f"left behind: {what}" for what in self.left]
        for name, asked in self.asked.items():
            unproven = set(asked.revisions) - self.chaos.invariants.proven
            found += [f"{name}: answers of {revision}, which nothing proved" for revision in sorted(unproven)]
        return found


@asynccontextmanager
async def chaotic(folder: Path, customer: Path, seed: int, *, whole: bool) -> AsyncIterator[Chaos]:
    """Lend a Trimtab with its first models ready; without the `whole` of it there is no S3, small disk or clock."""
    async with AsyncExitStack() as stack:
        cluster = stack.enter_context(faulty_cluster(folder, seed))
        client = await stack.enter_async_context(await Cluster.connect(str(cluster.kubeconfig)))
        for crd in crds().values():
            await client.apply(crd)
        for body in ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *pools()):
            await client.apply(body)
        artifacts = folder / "artifacts"
        artifacts.mkdir(mode=0o755)
        disk = stack.enter_context(small_disk(artifacts)) if whole else None
        s3 = await stack.enter_async_context(_s3(client, customer, seed)) if whole else None
        clock = stack.enter_context(closing(ShiftedClock(folder))) if whole and ShiftedClock.possible() else None
        (folder / "operators").write_text(through(cluster.url, await e2e()._operators_kubeconfig(cluster.kubeconfig)))
        environment = {**TERMS, **(clock.environment if clock else {})}
        operators = [
            e2e().Operator(folder / "operators", artifacts, folder / f"operator-{number}.log", environment=environment)
            for number in range(2)
        ]
        wishes = Wishes(customer, folder / "onnx", s3.address if s3 else None)
        chaos = Chaos(cluster, client, NAMESPACE, wishes, operators, s3, disk, clock)
        for operator in operators:
            operator.start()
            stack.callback(operator.stop)
        async with chaos.watched():
            wishes.begin()
            for name in wishes.specs:
                await chaos.apply(name)
            await _settled(chaos, _STARTS_WITHIN_S)
            await _keep_the_onnx(chaos)
            yield chaos


async def run(
    chaos: Chaos,
    seed: int,
    seconds: float,
    rate: float,
    *,
    every: float,
    patience: float,
    without: frozenset[str] = frozenset(),
) -> Outcome:
    """Carry out the plan of `seed` under `rate` requests a second, then wait for peace, and delete everything."""
    outcome = Outcome(plan(seed, seconds, every, lacking(chaos) | without), chaos)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for name, share in {"digits": 0.8, "bucket": 0.2}.items():
            if name in chaos.wishes.specs:
                url = (await _model(chaos, name))["status"]["url"]
                asked = await question(url, name, chaos.wishes.customer)
                outcome.asked[name] = await stack.enter_async_context(
                    asking(f"{url}/v2/models/{name}/infer", asked, rate * share, chaos.say)
                )
        await chaos.run(outcome.events, seconds)
        if chaos.clock is not None:
            chaos.clock.set(0)
        ended = loop.time()
        outcome.unfulfilled = await _settled(chaos, patience, strict=False)
        outcome.converged_s = loop.time() - ended
    for name in [name for name, spec in chaos.wishes.specs.items() if spec is not None]:
        chaos.wishes.specs[name] = None
        await chaos.apply(name)
    outcome.left = await _emptied(chaos, patience)
    for operator in chaos.operators:
        lines = operator.log.read_text(errors="replace").splitlines()
        outcome.tracebacks += [line[:600] for line in lines if "Traceback" in line]
    return outcome


def lacking(chaos: Chaos) -> frozenset[str]:
    """What cannot happen here."""
    absent = {
        "operator's clock jumps": chaos.clock,
        "disk full": chaos.disk,
        "S3 errors": chaos.s3,
        "S3 truncates": chaos.s3,
        "reruns in S3": chaos.s3,
    }
    return frozenset(what for what, needed in absent.items() if needed is None)


def through(url: str, kubeconfig: str) -> str:
    """Return a kubeconfig that leads through the wire that fails."""
    given = yaml.safe_load(kubeconfig)
    for entry in given["clusters"]:
        entry["cluster"]["server"] = url
    return str(yaml.safe_dump(given))


@asynccontextmanager
async def _s3(client: Cluster, customer: Path, seed: int) -> AsyncIterator[FaultyS3]:
    with imitated_s3() as upstream:
        s3 = FaultyS3(upstream, random.Random(f"{seed} S3"))
        async with s3.serving():
            files = {f"digits/{path.name}": path.read_bytes() for path in (customer / "model").iterdir()}
            await stored(s3, "models", files)
            await stored(s3, "artifacts", {})
            secret = {
                "AWS_ENDPOINT_URL": s3.address,
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            meta = {"name": "s3", "namespace": NAMESPACE}
            await client.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": secret})
            yield s3


async def _settled(chaos: Chaos, within_s: float, *, strict: bool = True) -> dict[str, str]:
    """Wait until everything is as users want it; return what is not after that time, or fail if `strict`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while (left := await chaos.unfulfilled()) and loop.time() < end:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.5)
    assert not (left and strict), left
    return left


async def _emptied(chaos: Chaos, within_s: float) -> list[str]:
    """Wait until nothing of ours is left; return what is after that time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    kept = (kinds.DEPLOYMENTS, kinds.JOBS, kinds.PODS, kinds.SERVICES)
    while True:
        objects = [item for kind in kept for item in await chaos.client.list(kind, NAMESPACE)]
        left = [f"{item['kind']}/{item['metadata']['name']}" for item in objects]
        if not left or loop.time() > end:
            return left
        await asyncio.sleep(0.5)


async def _keep_the_onnx(chaos: Chaos) -> None:
    """Keep the first model's file as the source of guests, which then need no torch."""
    artifact = (await _model(chaos, "digits"))["status"]["activeRevision"]["artifact"]
    chaos.wishes.onnx.mkdir(mode=0o755)
    copy = chaos.wishes.onnx / "model.onnx"
    copy.write_bytes((Path(urlsplit(artifact["uri"]).path) / "model.onnx").read_bytes())


async def _model(chaos: Chaos, name: str) -> dict[str, Any]:
    body = await chaos.client.get(kinds.MODELS, name, NAMESPACE)
    assert body is not None
    return body


async def question(url: str, model: str, customer: Path) -> dict[str, Any]:
    """Return a request's body for a model that was made of the digits."""
    with np.load(customer / "digits.npz") as data:
        image = data["x_test"][0]
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v2/models/{model}") as response:
        name = json.loads(await response.read())["inputs"][0]["name"]
    tensor = {"name": name, "shape": [1, *image.shape], "datatype": "FP32", "data": image.ravel().tolist()}
    return {"inputs": [tensor]}

"""The demo from end to end: everything that it starts, it ends."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from trimtab.cli.dashboard.serving import serving
from trimtab.cli.demo import assets
from trimtab.cli.demo.acts import play
from trimtab.cli.demo.diagnosis import diagnosis
from trimtab.cli.demo.live import View
from trimtab.cli.demo.load import input_tensor, questions
from trimtab.cli.demo.processes import EmbeddedCluster, embedded_cluster, train_customer_model
from trimtab.cli.demo.timeline import Outcome, Proof
from trimtab.cli.demo.world import World
from trimtab.effects.kinds import CRDS, kind_of
from trimtab.effects.kubernetes import Cluster
from trimtab.errors import TrimtabError

_POOLS = Path("samples") / "pools-embedded.yaml"
_CLUSTER_START_S = 30.0
_ESTABLISH_S = 20.0
_OPERATOR_START_S = 60.0
_TRAIN_S = 120.0
_COMPRESS_S = 240.0
_SERVE_S = 90.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What `--keep` leaves behind."""

    folder: Path
    kubeconfig: Path
    url: str


class PhaseError(TrimtabError):
    """A phase of the demo did not get where it should; the message says which, why, and what the pods said last."""

    def __init__(self, phase: str, cause: TrimtabError, details: str) -> None:
        super().__init__("DemoFailed", f"{phase}: {cause}\n{details}".rstrip())


async def perform(*, keep: bool, seed: int, view: View, clock: Callable[[], float]) -> tuple[Outcome, Kept | None]:
    """Show the whole life of a model on an embedded cluster.

    Raises:
        TrimtabError: A phase failed. Nothing is left running then, with or without `keep`.
    """
    folder = Path(tempfile.mkdtemp(prefix="trimtab-demo-"))
    kept: Kept | None = None
    try:
        async with embedded_cluster(folder, keep=keep, start_s=_CLUSTER_START_S) as embedded:
            try:
                outcome, url = await _on_cluster(embedded, folder, seed, view, clock)
            except BaseExceptionGroup as group:
                raise _first(group) from None
            if keep:
                kept = Kept(folder, embedded.kubeconfig, url)
                embedded.leave()
        return outcome, kept
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)


async def _on_cluster(
    embedded: EmbeddedCluster, folder: Path, seed: int, view: View, clock: Callable[[], float]
) -> tuple[Outcome, str]:
    began = clock()
    async with (
        await Cluster.connect(str(embedded.kubeconfig)) as cluster,
        serving(cluster, "127.0.0.1", 0) as page,
        asyncio.TaskGroup() as tasks,
    ):
        background = [tasks.create_task(embedded.failed())]
        training = tasks.create_task(_train(folder, seed))
        world = World()
        try:
            view.phase("A customer trains a digit recogniser; an embedded cluster gets the operator")
            view.note(f"watch it live on {page}")
            await install(cluster, folder, assets.documents(assets.manifests_folder() / _POOLS))
            background += world.watch(cluster, tasks)
            await world.until("the operator", lambda: operator_is_ready(world), _OPERATOR_START_S)
            accuracy = await training
            view.note(f"the customer's model is trained: {accuracy:.2%} of the test scans right")
            url = await _compress_and_serve(cluster, world, folder, view)
            tensor = await input_tensor(url, assets.MODEL)
            asked = questions(folder / "data" / "digits.npz", tensor)
            proof = Proof.read(world.status)
            view.note(proof.message)
            acted = await play(cluster, world, view, f"{url}/v2/models/{assets.MODEL}/infer", asked, clock)
        except TrimtabError as error:
            raise PhaseError(view.title, error, await diagnosis(cluster, world)) from error
        finally:
            for task in background:
                task.cancel()
        outcome = Outcome(
            proof, acted.requests, world.interruptions, acted.samples, acted.marks, seconds=clock() - began
        )
    return outcome, url


async def _train(folder: Path, seed: int) -> float:
    try:
        async with asyncio.timeout(_TRAIN_S):
            return await train_customer_model(folder / "model", folder / "data" / "digits.npz", seed, folder)
    except TimeoutError:
        raise TrimtabError("TimedOut", f"the customer's training took longer than {_TRAIN_S:.0f} s") from None


async def install(cluster: Cluster, folder: Path, pools: Iterable[assets.Manifest]) -> None:
    """Apply the repository's manifests, definitions first, and the pools."""
    manifests = assets.manifests_folder()
    objects = assets.kustomized(manifests / "overlays" / "embedded")
    objects = assets.on_a_laptop(objects, assets.operator_settings(folder))
    definitions = [body for body in objects if kind_of(body) == CRDS]
    for body in definitions:
        await cluster.apply(body)
    await _established(cluster, {body["metadata"]["name"] for body in definitions})
    for body in objects:
        if kind_of(body) != CRDS:
            await cluster.apply(body)
    for body in pools:
        await cluster.apply(body)


async def _established(cluster: Cluster, names: set[str]) -> None:
    """Wait until the API server serves the definitions."""
    missing = set(names)
    try:
        async with asyncio.timeout(_ESTABLISH_S):
            async for _, body in cluster.watch(CRDS):
                conditions = body.get("status", {}).get("conditions", [])
                if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                    missing.discard(body["metadata"]["name"])
                if not missing:
                    return
    except TimeoutError:
        raise TrimtabError("TimedOut", f"not established after {_ESTABLISH_S:.0f} s: {sorted(missing)}") from None


async def _compress_and_serve(cluster: Cluster, world: World, folder: Path, view: View) -> str:
    """Apply the model and wait until it is ready; returns its URL."""
    view.phase("Compressing, and proving it on scans that training never saw")
    await cluster.apply(assets.sample_model(assets.manifests_folder() / "samples", folder))

    def optimized() -> bool:
        run = world.status.get("lastRun", {})
        view.progress(run.get("step") or run.get("phase", ""), int(run.get("progressPercent", 0)))
        return world.is_true("Optimized")

    await world.until("the compression Job", optimized, _COMPRESS_S)
    view.phase("Rolling out: nodes boot, replicas start, the gateway takes them in")
    await world.until("condition Ready", lambda: world.is_true("Ready"), _SERVE_S)
    return str(world.status["url"])


def operator_is_ready(world: World) -> bool:
    """Return whether the operator runs."""
    status = world.deployment(assets.OPERATOR_NAMESPACE, assets.OPERATOR).get("status", {})
    return int(status.get("readyReplicas", 0)) > 0


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure that ended the rest."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found

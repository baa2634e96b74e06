"""Two operators, one of which works: killed, paused and ended ones are replaced, and write nothing afterwards."""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest

from trimtab.effects import kinds
from trimtab.effects.kubernetes import Cluster

pytestmark = pytest.mark.e2e

# Shorter than in production, so that the test is; long enough for a slow machine to renew.
TERMS = {
    "TRIMTAB_LEASE_NAMESPACE": "trimtab-system",
    "TRIMTAB_LEASE_DURATION": "8s",
    "TRIMTAB_LEASE_RENEW_DEADLINE": "6s",
    "TRIMTAB_LEASE_RETRY": "1s",
}
PATIENCE_S = 120


def model(namespace: str, cause: str) -> dict[str, Any]:
    """A model that no operator of this test can compress; why not depends on the operator's settings."""
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "OptimizedModel",
        "metadata": {"name": "m", "namespace": namespace},
        "spec": {
            "source": {"uri": "file:///nowhere", "format": "Python", "entrypoint": "a:b"},
            "compression": {"preset": "Fast"},
            "guardrail": {"dataset": {"uri": "file:///nowhere.npz"}, "maxDrop": "1pp"},
            "rerun": {"reason": cause},
        },
    }


def events(operator: Any, event: str) -> list[Any]:
    """The lines of an operator's log that tell of `event`."""
    lines = operator.log.read_text().splitlines() if operator.log.exists() else []
    parsed = [json.loads(line) for line in lines if line.startswith("{")]
    return [line for line in parsed if line["event"] == event]


async def until(what: str, holds: Callable[[], Any] | Callable[[], Awaitable[Any]]) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = holds()
        if await found if asyncio.iscoroutine(found) else found:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"{what} did not come within {PATIENCE_S} s")


def said(status: dict[str, Any]) -> tuple[int, str]:
    """The generation that was processed, and why it stalled."""
    stalled = (entry["reason"] for entry in status.get("conditions") or () if entry["type"] == "Stalled")
    return status.get("observedGeneration", -1), next(stalled, "")


async def test_one_works_and_others_replace_it(cluster: Cluster, namespace: str, operators: Callable[..., Any]) -> None:
    """kill -9: replaced when the Lease ran out. Paused: the same, and silent when it wakes. Ended: replaced at once."""

    async def status(generation: int, reason: str) -> None:
        async def holds() -> bool:
            body = await cluster.get(kinds.MODELS, "m", namespace)
            return body is not None and said(body.get("status") or {}) == (generation, reason)

        await until(f"generation {generation}: {reason}", holds)

    refuses = {**TERMS, "TRIMTAB_ALLOW_CODE_NAMESPACES": ""}
    allows = {**TERMS, "TRIMTAB_ALLOW_CODE_NAMESPACES": "*", "TRIMTAB_ARTIFACTS_URI": ""}
    await cluster.delete(kinds.LEASES, "trimtab-operator", "trimtab-system")

    first = operators("first", **refuses)
    await until("the first one works", lambda: events(first, "leadership.gained"))
    second = operators("second", **allows)
    await until("the second one waits", lambda: events(second, "leadership.awaited"))
    await cluster.apply(model(namespace, "one"))
    await status(1, "CodeNotAllowed")
    assert not events(second, "leadership.gained")

    first.kill()
    await until("the second one works", lambda: events(second, "leadership.gained"))
    await status(1, "NoOutput")

    third = operators("third", **refuses)
    await until("the third one waits", lambda: events(third, "leadership.awaited"))
    second.process.send_signal(signal.SIGSTOP)
    await until("the third one works", lambda: events(third, "leadership.gained"))
    await status(1, "CodeNotAllowed")
    heard: list[tuple[int, str]] = []
    listening = asyncio.create_task(hear(cluster, namespace, heard))
    await until("a first look", lambda: heard)
    await cluster.apply(model(namespace, "two"))  # what the paused one would answer, and must not
    await status(2, "CodeNotAllowed")
    second.process.send_signal(signal.SIGCONT)
    await until("the second one notices", lambda: events(second, "leadership.lost"))
    await cluster.apply(model(namespace, "three"))
    await status(3, "CodeNotAllowed")
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    assert {reason for _, reason in heard} == {"CodeNotAllowed"}, "the one that was paused wrote nothing"

    third.stop()
    assert events(third, "leadership.released")
    await status(3, "NoOutput")
    lease = await cluster.get(kinds.LEASES, "trimtab-operator", "trimtab-system")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == events(second, "leadership.gained")[-1]["holder"]
    assert lease["spec"]["leaseTransitions"] == 3


async def hear(cluster: Cluster, namespace: str, heard: list[tuple[int, str]]) -> None:
    """Note every status that is written."""
    async with aclosing(cluster.watch(kinds.MODELS, namespace)) as changes:
        async for change, body in changes:
            if change != "SYNCED":
                heard.append(said(body.get("status") or {}))

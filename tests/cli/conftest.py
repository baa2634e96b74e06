"""A cluster of a few objects, for commands that ask one."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from modelparts import VERDICT, a_condition

SPEC: dict[str, Any] = {
    "source": {"uri": "file:///m"},
    "compression": {"preset": "Fast"},
    "guardrail": {"dataset": {"uri": "file:///d"}, "maxDrop": "2pp"},
}
ASKS = ("status", "explain", "diff", "report", "promote", "rollback", "interrupt")


def a_revision(name: str, **more: Any) -> dict[str, Any]:
    artifact = {"uri": "file:///a", "digest": "d", "bytes": 1024, "sourceBytes": 4096}
    template = '{"serving.image":"serve:1"}'
    given = {"name": name, "runName": "r", "artifact": artifact, "generation": 1, "since": "x"}
    return {**given, "guardrail": VERDICT, "template": template, **more}


def a_model(spec: dict[str, Any] | None = None, annotations: Any = None, **status: Any) -> dict[str, Any]:
    """Return a model in its second generation, read by the operator."""
    told = {"observedGeneration": 2, "conditions": [a_condition("Ready")], **status}
    meta = {"namespace": "models", "name": "digits", "generation": 2, "uid": "u", "annotations": annotations or {}}
    head = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "OptimizedModel"}
    return {**head, "metadata": meta, "spec": {**SPEC, **(spec or {})}, "status": told}


class FewObjects:
    """A cluster of these objects, with the patches that it got; a watch shows each model once more after a patch."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = list(objects)
        self.patches: list[tuple[str, Any]] = []
        self.later: list[dict[str, Any]] = []
        """What a watch shows after what there is."""

    async def get(self, kind: Any, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        return next((o for o in await self.list(kind, namespace) if o["metadata"]["name"] == name), None)

    async def list(self, kind: Any, namespace: str | None = None, labels: str | None = None) -> list[dict[str, Any]]:
        del labels
        there = (o for o in self.objects if o["kind"] == kind.kind)
        return [o for o in there if namespace is None or o["metadata"].get("namespace") == namespace]

    async def merge(self, kind: Any, name: str, namespace: str | None, patch: Any, *, manager: str) -> None:
        assert manager == "trimtab-cli", "the operator's own name is for what the operator writes"
        self.patches.append((f"{kind.kind}/{namespace or '-'}/{name}", patch))

    async def watch(self, kind: Any, namespace: str | None = None) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        for body in await self.list(kind, namespace):
            yield "ADDED", body
        yield "SYNCED", {}
        for body in self.later:
            yield "MODIFIED", body


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> FewObjects:
    """The cluster that commands are connected to, in namespace models; empty at first."""
    fake = FewObjects()

    @asynccontextmanager
    async def connected(_: Any) -> Any:
        yield fake

    for name in ASKS:
        module = importlib.import_module(f"trimtab.cli.{name}")
        monkeypatch.setattr(module, "connected", connected)
        monkeypatch.setattr(module, "chosen_namespace", lambda namespace, _: namespace or "models")
    return fake


@pytest.fixture
def parts() -> Any:
    """What models are made of."""

    class Parts:
        model = staticmethod(a_model)
        revision = staticmethod(a_revision)
        condition = staticmethod(a_condition)

    return Parts

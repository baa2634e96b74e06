"""What the benchmark can ask of each kind of server, in the same words."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from client import Connection, Stream, Target

GROUP = "/apis/trimtab.dev/v1alpha1"
MODELS = f"{GROUP}/namespaces/default/optimizedmodels"
_JSON = "application/json"
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"


def model(number: int) -> dict[str, Any]:
    """An object as the README's users write it."""
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "OptimizedModel",
        "metadata": {"name": f"model-{number}", "namespace": "default", "labels": {"team": f"t{number % 20}"}},
        "spec": {
            "source": {"uri": f"s3://models/digits/v{number}"},
            "compression": {"preset": "Balanced"},
            "guardrail": {"dataset": {"uri": "s3://data/digits/test.npz"}, "maxDrop": "1pp"},
            "serving": {"minReplicas": 2, "maxReplicas": 8, "batching": {"maxSize": 16, "maxWait": "20ms"}},
            "capacity": {"onDemandBase": 1, "spotPercent": 100},
            "suspend": True,
        },
    }


def _stamped(obj: dict[str, Any], sent: int) -> bytes:
    obj.setdefault("metadata", {}).setdefault("annotations", {})["sent"] = str(sent)
    return json.dumps(obj, separators=(",", ":")).encode()


class Server(Protocol):
    """A server with its name and the writes that it knows."""

    name: str
    writes: Sequence[str]

    async def write(self, connection: Connection, kind: str, number: int, sent: int) -> None:
        """Write object `number`, stamped with the time from which its way to the watchers counts."""

    async def listed(self, connection: Connection) -> int:
        """Ask for all objects; returns the size of the answer in bytes."""

    async def watch(self, line: Callable[[bytes], None]) -> Stream:
        """Follow all objects from now on."""

    async def connect(self) -> Connection: ...


class ApiServer:
    """A Kubernetes API server, the embedded one or a real one, with OptimizedModels."""

    writes = ("create", "merge patch", "apply patch", "status patch")

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self._target = target

    async def connect(self) -> Connection:
        return await Connection.open(self._target)

    async def prepare(self, definition: dict[str, Any]) -> None:
        """Have the kind served."""
        connection = await self.connect()
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        status, answer = await connection.ask("POST", crds, json.dumps(definition).encode())
        if status not in (201, 409):
            raise RuntimeError(answer.decode())
        # A question over HTTP; there is no event to wait for.
        while (await connection.ask("GET", f"{MODELS}?limit=1"))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        connection.close()

    async def write(self, connection: Connection, kind: str, number: int, sent: int) -> None:
        path = f"{MODELS}/model-{number}"
        changing = time.monotonic_ns() % 1_000_000
        match kind:
            case "create":
                status, answer = await connection.ask("POST", MODELS, _stamped(model(number), sent))
            case "merge patch":
                patch = {"spec": {"serving": {"maxReplicas": 3 + changing % 90}}}
                status, answer = await connection.ask("PATCH", path, _stamped(patch, sent), _MERGE)
            case "apply patch":
                config = model(number)
                config["spec"]["serving"]["minReplicas"] = 1 + changing % 2
                path += "?fieldManager=applier&force=true"
                status, answer = await connection.ask("PATCH", path, _stamped(config, sent), _APPLY)
            case _:
                condition = {
                    "type": "Ready",
                    "status": "False",
                    "reason": "Optimizing",
                    "message": f"due at {sent}",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                    "observedGeneration": 1,
                }
                patch = {"status": {"observedGeneration": changing, "conditions": [condition]}}
                status, answer = await connection.ask("PATCH", f"{path}/status", json.dumps(patch).encode(), _MERGE)
        if status not in (200, 201):
            raise RuntimeError(f"{kind}: {status} {answer[:500]!r}")

    async def listed(self, connection: Connection) -> int:
        status, answer = await connection.ask("GET", f"{GROUP}/optimizedmodels")
        if status != 200:
            raise RuntimeError(answer[:500].decode())
        return len(answer)

    async def watch(self, line: Callable[[bytes], None]) -> Stream:
        connection = await self.connect()
        _, answer = await connection.ask("GET", f"{MODELS}?limit=1")
        connection.close()
        version = json.loads(answer)["metadata"]["resourceVersion"]
        path = f"{GROUP}/optimizedmodels?watch=1&resourceVersion={version}&timeoutSeconds=3000"
        return await Stream.open(self._target, "GET", path, line)


class Etcd:
    """etcd through its JSON gateway: what any real API server writes to, so no such server is faster."""

    writes = ("create", "merge patch")

    def __init__(self, target: Target, size: int) -> None:
        self.name = "etcd"
        self._target = target
        self._filling = "x" * size

    async def connect(self) -> Connection:
        return await Connection.open(self._target)

    async def write(self, connection: Connection, kind: str, number: int, sent: int) -> None:
        del kind  # a put is a put
        value = f'"sent":"{sent}"{self._filling}'
        put = {"key": _coded(f"/m/{number}"), "value": _coded(value)}
        status, answer = await connection.ask("POST", "/v3/kv/put", json.dumps(put).encode())
        if status != 200:
            raise RuntimeError(answer.decode())

    async def listed(self, connection: Connection) -> int:
        every = {"key": _coded("/m/"), "range_end": _coded("/m0")}
        status, answer = await connection.ask("POST", "/v3/kv/range", json.dumps(every).encode())
        if status != 200:
            raise RuntimeError(answer.decode())
        return len(answer)

    async def watch(self, line: Callable[[bytes], None]) -> Stream:
        def event(text: bytes) -> None:
            if b'"events"' in text:
                for found in json.loads(text)["result"]["events"]:
                    line(base64.b64decode(found["kv"]["value"]))

        every = {"create_request": {"key": _coded("/m/"), "range_end": _coded("/m0")}}
        return await Stream.open(self._target, "POST", "/v3/watch", event, json.dumps(every).encode())


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()

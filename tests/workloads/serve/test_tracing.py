"""OpenTelemetry spans of requests."""

from __future__ import annotations

import asyncio
import builtins

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from trimtab.errors import Stalled
from trimtab.workloads.serve.tracing import tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def collector():
    """Return (environment, queue of what a collector was sent)."""
    received = asyncio.Queue()

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        received.put_nowait(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_COMPRESSION": "none"},
        received,
    )
    server.close()


@pytest.mark.integration
async def test_a_request_leaves_a_span(collector, launch, client):
    """With its times, its model, and the caller's trace."""
    environment, received = collector
    pod = await (await launch(**environment)).ready()
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    async with client.post(f"{pod.url}/v2/models/linear/infer", json=body, headers={"traceparent": PARENT}) as answer:
        assert answer.status == 200
    pod.process.terminate()
    sent = ExportTraceServiceRequest.FromString(await asyncio.wait_for(received.get(), 60))
    assert await pod.ended() == 0
    (span,) = sent.resource_spans[0].scope_spans[0].spans
    facts = {fact.key: fact.value.string_value or fact.value.int_value for fact in span.attributes}
    assert facts == {"trimtab.model": "linear", "trimtab.revision": "linear-1", "http.response.status_code": 200}
    assert span.trace_id.hex() == PARENT.split("-")[1]
    assert span.parent_span_id.hex() == PARENT.split("-")[2]
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 10**10


def test_without_an_endpoint_nothing_is_loaded():
    """Traces cost nothing where nobody wants them."""
    assert tracing({}, lambda: 0.0) is None


def test_an_endpoint_without_the_library_is_a_mistake(monkeypatch):
    """Traces that are asked for and do not come would be missed too late."""
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="opentelemetry")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Stalled, match=r"this image has no opentelemetry; install trimtab\[otel\]"):
        tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, lambda: 0.0)

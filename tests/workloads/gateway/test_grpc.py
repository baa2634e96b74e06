"""Calls over gRPC: by their authority, over all replicas, and none is lost when one of them leaves or dies."""

import asyncio
import contextlib
import sys
from collections import Counter

import grpc
import pytest
from replicaprocess import ReplicaProcess

from trimtab.api.gateway import EndpointState
from trimtab.workloads.gateway.stopping import stop_softly

pytestmark = pytest.mark.integration

METHOD = "/inference.GRPCInferenceService/ModelInfer"
REPLICA = """
import asyncio, signal, sys
import grpc
from aiohttp import web
host = sys.argv[1]
async def ready(_): return web.Response()
async def metadata(_): return web.json_response({"parameters": {"max_concurrency": 16}})
async def infer(body, context):
    if body == b"fail":
        await context.abort(grpc.StatusCode.INTERNAL, "no")
    await asyncio.sleep(0.01)
    return host.encode() + b" " + body[:5]
async def main():
    app = web.Application()
    app.router.add_get("/v2/health/ready", ready)
    app.router.add_get("/v2/models/digits", metadata)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, 8080).start()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 2**24)])
    handler = grpc.unary_unary_rpc_method_handler(infer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler}),)
    )
    server.add_insecure_port(f"{host}:8001")
    await server.start()
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    await asked.wait()
    await server.stop(5)  # says GOAWAY and finishes what it has
    await runner.cleanup()
asyncio.run(main())
"""


async def replica(world, revision="r1"):
    host = world.host()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", REPLICA, host)

    async def stop():
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    world.stack.push_async_callback(stop)
    made = ReplicaProcess(host, process)
    world.endpoint("digits", made, revision)

    async def admitted():
        return (await world.states("digits")).get(made.address) is EndpointState.HEALTHY

    await world.until(admitted)
    return made


def takes_grpc(world, **more):
    world.ports["grpc"] = 8001
    world.model("digits", **more)
    world.models["default", "digits"]["spec"]["serving"]["grpc"] = True
    world.wake()


@contextlib.asynccontextmanager
async def distance(bind, seconds=0.03):
    """Stand between a client and `bind`, each way `seconds` long; give the address to call instead."""

    async def carry(reader, writer):
        loop, later = asyncio.get_running_loop(), asyncio.Queue()

        async def deliver():
            while True:
                due, data = await later.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    break
                writer.write(data)

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            data = None
            while data != b"":
                try:
                    data = await reader.read(65536)
                except ConnectionError:
                    data = b""
                later.put_nowait((loop.time() + seconds, data))
        writer.close()

    async def relay(reader, writer):
        host, port = bind.rsplit(":", 1)
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(carry(reader, inner_writer), carry(inner_reader, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def channel(world, authority="digits.default.svc"):
    options = [("grpc.default_authority", authority), ("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(world.listener.bind, options) as opened:
        yield opened.unary_unary(METHOD)


@contextlib.asynccontextmanager
async def calling(world, clients=4):
    """Call all the time inside the block, each client over a connection of its own."""
    seen, ending = Counter(), asyncio.Event()

    async def client():
        async with channel(world) as call:
            while not ending.is_set():
                try:
                    seen[(await call(b"hello")).split()[0].decode()] += 1
                except grpc.aio.AioRpcError as error:
                    seen[f"{error.code().name}: {error.details()}"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
        try:
            yield seen
        finally:
            ending.set()


async def test_one_connection_reaches_all_replicas_in_turn(world):
    """Each call is balanced, not each connection; large messages pass, and HTTP goes on beside them."""
    takes_grpc(world)
    hosts = {(await replica(world)).host for _ in range(2)}
    async with channel(world) as call:
        answers = Counter([(await call(b"hello")).split()[0].decode() for _ in range(40)])
        assert answers == dict.fromkeys(hosts, 20)
        assert (await call(b"x" * 3_000_000)).endswith(b"xxxxx")
    stats = await world.stats("digits")
    assert stats.requests_total == 41
    assert len(stats.endpoints) == 2


async def test_what_is_not_there_is_said_in_grpc(world):
    """A client gets a status that it knows, and a sentence."""
    async with channel(world) as call:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"hello")
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.UNAVAILABLE, "no models here yet")
    world.model("digits")

    async def known():
        async with channel(world, "digits") as call:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"hello")
            return refused.value.code() is grpc.StatusCode.NOT_FOUND and refused.value.details()

    assert await world.until(known) == "no model digits with serving.grpc here"


async def test_failures_in_grpc_are_failures_of_the_revision(world):
    """What is a 200 over HTTP/2 counts as an error where its status says so: canaries are judged by that."""
    takes_grpc(world, shares={"r1": 50, "r2": 50})
    await replica(world)
    await replica(world, "r2")
    async with channel(world) as call:
        for _ in range(10):
            with pytest.raises(grpc.aio.AioRpcError, match="no"):
                await call(b"fail")

    async def counted():
        found = (await world.stats("digits")).revisions
        return sum(stats.errors for stats in found.values()) == 10

    await world.until(counted, "the failures' count")


async def test_replicas_leave_and_die_without_a_failed_call(world):
    """Drained with GOAWAY, then killed -9: calls go on at the others."""
    takes_grpc(world)
    leaver, victim, _ = [await replica(world) for _ in range(3)]
    async with calling(world) as seen:
        await asyncio.sleep(0.5)
        world.endpoint("digits", leaver, terminating=True)
        await asyncio.sleep(0.3)
        leaver.process.terminate()
        await leaver.process.wait()
        world.forget_endpoint("digits", leaver)
        await asyncio.sleep(0.3)
        victim.process.kill()
        await victim.process.wait()
        await asyncio.sleep(1)
        world.forget_endpoint("digits", victim)
        await replica(world)
        await asyncio.sleep(0.5)
    assert all("." in host and ":" not in host for host in seen), seen
    assert len(seen) == 4
    assert sum(seen.values()) > 100


async def test_a_gateway_leaves_without_a_failed_call(world):
    """Its clients are told by GOAWAY, finish what runs, and go on with the other gateway.

    Retries are left as gRPC sets them: a call sent while the GOAWAY travels was never begun (RFC 9113, 6.8), and
    only gRPC's transparent retry sends it again. A call that HAProxy had taken is not retried by default.
    """
    takes_grpc(world)
    await replica(world)
    async with world.second() as other, distance(other.listener.bind) as far:
        seen, ending = Counter(), asyncio.Event()

        async def client():
            target = f"ipv4:{far},{world.listener.bind}"
            options = [("grpc.default_authority", "digits"), ("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(target, options) as opened:
                call = opened.unary_unary(METHOD)
                while not ending.is_set():
                    try:
                        await call(b"hello", wait_for_ready=True, timeout=30)
                        seen["ok"] += 1
                    except grpc.aio.AioRpcError as error:
                        seen[f"{error.code().name}: {error.details()}"] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(client())
            await asyncio.sleep(0.5)
            ended = asyncio.create_task(other.process.wait())
            await stop_softly(other.directory, 0.2, 10)
            await ended
            await asyncio.sleep(0.5)
            ending.set()
    assert set(seen) == {"ok"}, seen
    assert seen["ok"] > 50

"""A change of one model touches nothing that belongs to others."""

import asyncio
import contextlib

import pytest

from trimtab.api.serving import Policy
from trimtab.planning.traffic import Duty, Endpoint, ModelTraffic, holding_socket
from trimtab.workloads.gateway.concurrency import Concurrency
from trimtab.workloads.gateway.holding import Holder


def traffic(model, number, *, sleeps=False):
    """A model with one replica, or with none where it sleeps."""
    replica = Endpoint(f"127.0.0.{number}:8080", f"pod-{number}", "n1", "r1", Duty.ACTIVE, 1)
    return ModelTraffic(model, Policy.ROUND_ROBIN, 3, () if sleeps else (replica,), sleeps=sleeps)


class Runtimes:
    """Instead of an HTTP session: every replica takes four requests at once."""

    def raise_for_status(self):
        pass

    async def json(self, *, content_type):
        assert content_type is None
        return {"parameters": {"max_concurrency": 4}}

    @contextlib.asynccontextmanager
    async def get(self, url, *, timeout):
        yield self


async def test_what_is_known_of_others_stays_known():
    """Asking about one model forgets no other; asking about all forgets those that went."""
    answered = asyncio.Queue()
    concurrency = Concurrency(Runtimes(), answered.put_nowait)
    both = traffic("a", 1), traffic("b", 2)
    assert concurrency.limits(both) == {}
    assert {await answered.get(), await answered.get()} == {"a", "b"}
    assert concurrency.known(both[:1]) == {"127.0.0.1:8080": 4}
    assert concurrency.limits(both) == {"127.0.0.1:8080": 4, "127.0.0.2:8080": 4}
    assert concurrency.limits(both[:1]) == concurrency.known(both[:1])
    assert concurrency.limits(both) == {"127.0.0.1:8080": 4}
    await concurrency.close()


async def test_the_others_go_on_sleeping(tmp_path):
    """A model that may not sleep any more has no socket; where requests to another one are held stays open."""
    holder = Holder(tmp_path.joinpath)
    await holder.follow((traffic("a", 1, sleeps=True), traffic("b", 2, sleeps=True)))
    await holder.follow((traffic("a", 1),), {"a"})
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_unix_connection(tmp_path / holding_socket("a"))
    _, writer = await asyncio.open_unix_connection(tmp_path / holding_socket("b"))
    writer.close()
    await writer.wait_closed()
    await holder.close()

"""The page over HTTP: what it gives, to whom, and how it ends."""

import asyncio
import json

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner

from trimtab.cli import main
from trimtab.cli.dashboard import server

pytestmark = pytest.mark.integration


@pytest.fixture
async def client(site):
    async with TestClient(TestServer(site)) as made:
        yield made


async def events(response):
    """Yield server-sent events as (name, data); heartbeats are (None, None)."""
    name = data = None
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = json.loads(line.removeprefix("data: "))
        elif not line:
            yield name, data
            name = data = None


@pytest.mark.parametrize("path", ["/", "/page.js", "/chart.js", "/page.css", "/api/models"])
async def test_everything_comes_from_here_and_runs_nothing_else(client, path):
    """No file names another host, and the policy would stop it."""
    response = await client.get(path)
    assert response.status == 200
    assert "default-src 'none'; script-src 'self'" in response.headers["Content-Security-Policy"]
    text = (await response.text()).replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in text
    assert "https://" not in text


async def test_a_stream_tells_all_then_changes_then_what_went(client, board, make):
    """In this order, and a heartbeat in between."""
    board.put(make())
    async with client.get("/api/changes") as response:
        assert response.content_type == "text/event-stream"
        told = events(response)
        name, model = await anext(told)
        assert (name, model["key"], model["history"]) == ("model", "default/digits", [[0.0, 4, 1, 3]])
        assert await anext(told) == (None, None)
        board.put(make(spot=2))
        board.drop(make())
        while (event := await anext(told)) == (None, None):
            pass
        assert event == ("gone", "default/digits")


async def test_a_closed_page_is_forgotten(client, board):
    """The server notices at the next heartbeat, and has room again."""
    async with client.get("/api/changes") as response:
        await anext(events(response))
        assert board.listeners == 1
        response.close()
    with board.listening() as listener:
        async with asyncio.timeout(30):
            async for _ in listener.changes(heartbeat_s=0.01):
                if board.listeners == 1:
                    return


async def test_open_pages_do_not_hold_up_the_end(site, board):
    """A shutdown ends their streams, instead of waiting for them."""
    async with TestClient(TestServer(site)) as client:
        response = await client.get("/api/changes")
        await anext(events(response))
    assert board.listeners == 0


async def test_too_many_pages(client, monkeypatch):
    """The message says what to do."""
    monkeypatch.setattr(server, "MAX_PAGES", 0)
    response = await client.get("/api/changes")
    assert (response.status, await response.text()) == (503, "0 pages are open already; close one\n")


async def test_another_name_is_refused(client):
    """A browser that was led here under somebody's name gets nothing, but probes by address do."""
    refused = await client.get("/api/models", headers={"Host": "evil.example:80"})
    assert refused.status == 403
    assert "not served as 'evil.example'; name it with --host-name" in await refused.text()
    assert (await client.get("/healthz", headers={"Host": "10.0.0.1"})).status == 200


async def test_nothing_can_be_changed(client):
    """There is no other method than GET."""
    for path in ("/", "/api/models", "/reports/default/digits"):
        assert (await client.post(path)).status == 405


async def test_reports_run_no_scripts(client):
    """Their policy is a sandbox; where there is none yet, the page says why."""
    response = await client.get("/reports/default/digits")
    assert await response.text() == "<p>report of default/digits"
    assert response.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    missing = await client.get("/reports/default/other")
    assert (missing.status, await missing.text()) == (404, "model other has no artifact yet\n")


@pytest.mark.parametrize("listen", ["8088", "127.0.0.1:", "127.0.0.1:many", "127.0.0.1:70000"])
def test_no_address(listen):
    """The message says how to write one."""
    done = CliRunner().invoke(main, ["dashboard", "--listen", listen])
    assert done.exit_code == 2
    assert "write it like 127.0.0.1:8088" in done.output

"""The page in a real browser: what a person sees, live, on a desk and on a phone."""

import pytest
from aiohttp.test_utils import TestServer
from browser import executable, tab

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(executable() is None, reason="no Chromium: apt-get install chromium"),
]
CARD = "document.querySelector('[data-key=\"default/digits\"]')"


@pytest.fixture
async def page(site, tmp_path):
    """A browser's tab that shows the site."""
    async with TestServer(site) as server, tab(tmp_path / "profile") as made:
        await made.call("Page.navigate", url=str(server.make_url("/")))
        await made.until("document.getElementById('link').textContent === 'live'")
        yield made


async def test_a_models_life_on_the_page(page, board, clock, make, tmp_path):
    """It comes, changes where it stands, stays open where somebody reads, and goes; nothing is complained of."""
    clock.now = 100.0
    assert await page.value("document.getElementById('none').hidden") is False
    board.put(make())
    await page.until(f"{CARD}.querySelector('.pill').textContent === 'Serving'")
    text = await page.value(f"{CARD}.textContent")
    for told in ("945.3 KiB → 69.1 KiB (13.7× smaller)", "4 of 4: 1 on demand, 3 on spot", "47 % below all on demand"):
        assert told in text
    assert await page.value(f"{CARD}.querySelectorAll('svg').length") == 2
    assert "0.29 USD/h saved" in await page.value("document.getElementById('totals').textContent")

    await page.value(f"{CARD}.querySelector('details').open = true")
    weights = [{"revision": "digits-a", "weight": 75}, {"revision": "digits-b", "weight": 25}]
    board.put(make(spot=1, traffic={"revisions": weights}))
    await page.until(f"{CARD}.textContent.includes('2 of 4')")
    assert await page.value(f"{CARD}.querySelector('details').open") is True
    assert await page.value(f"{CARD}.querySelectorAll('.shares div')[1].style.width") == "25%"

    for name, width, height, dark in (("desk", 1280, 800, False), ("phone", 390, 844, True)):
        await page.screenshot(tmp_path / f"{name}.png", width, height, dark=dark)
        assert await page.value("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"

    board.drop(make())
    await page.until("document.querySelectorAll('article').length === 0")
    assert page.complaints == []


async def test_text_from_a_cluster_stays_text(page, board, make):
    """A message with markup in it is shown, not run."""
    attack = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    model = make(decisions=[{"time": "2026-01-01T00:00:00Z", "kind": "Scaling", "message": attack}])
    model["status"]["summary"]["message"] = attack
    board.put(model)
    await page.until(f"{CARD}.textContent.includes('<script>')")
    assert await page.value("document.querySelectorAll('article img, article script').length") == 0
    assert await page.value("document.title") == "Trimtab"


async def test_many_models_are_found_by_name(page, board, make):
    """A thousand do not all become cards; one is found by what is typed."""
    for number in range(1000):
        board.put(make(f"model-{number:04}"))
    await page.until("document.getElementById('totals').textContent.startsWith('1000 models')")
    assert await page.value("document.querySelectorAll('article').length") == 200
    assert await page.value("document.getElementById('more').textContent") == "800 more: search for a name"
    await page.value(
        "(() => { const find = document.getElementById('find'); find.value = '0777'; "
        "find.dispatchEvent(new Event('input')); })()"
    )
    await page.until("document.querySelectorAll('article').length === 1")
    assert await page.value("document.querySelector('article h2').textContent") == "model-0777"


async def test_a_lost_connection_is_shown_and_made_again(new_site, board, make, tmp_path):
    """The page says that it is not live; what went meanwhile is gone afterwards."""
    board.put(make())
    async with tab(tmp_path / "profile") as page:
        async with TestServer(new_site()) as server:
            await page.call("Page.navigate", url=str(server.make_url("/")))
            await page.until(f"!!{CARD}")
            port = server.port
        await page.until("document.getElementById('link').textContent === 'connecting'")
        board.drop(make())
        board.put(make("other"))
        async with TestServer(new_site(), port=port):
            await page.until("document.querySelector('article h2').textContent === 'other'")
        assert await page.value("document.querySelectorAll('article').length") == 1

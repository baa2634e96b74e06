"""TLS between clients and the gateway: where a namespace has a certificate, as it has it, and never instead of HTTP."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from clusters.certificates import Authority, Pair

from trimtab.workloads.gateway.certificates import Certificates

NAME = "digits.default.svc"
OURS = Authority("ours")


def put(folder: Path, pair: Pair) -> None:
    """As a kubelet puts a Secret of type kubernetes.io/tls, but for its links."""
    (folder / "tls.key").write_bytes(pair.private)
    (folder / "tls.crt").write_bytes(pair.public)


def issued() -> Pair:
    return OURS.server("digits", [NAME], [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tls"
    made.mkdir()
    return made


def shown(folder: Path) -> tuple[str | None, bool]:
    """What a look finds: the fingerprint, and whether something was refused."""
    certificates = Certificates(folder)
    certificates.look()
    assert (certificates.path is not None) == (certificates.asks_for_reload(None))
    return certificates._print if certificates.path else None, bool(certificates.refused)


def test_a_pair_that_fits_is_used(folder: Path) -> None:
    """None, half of one, a whole one, and none again."""
    assert shown(folder) == (None, False)
    pair = issued()
    (folder / "tls.key").write_bytes(pair.private)
    assert shown(folder) == (None, False)
    put(folder, pair)
    assert (len(shown(folder)[0] or ""), shown(folder)[1]) == (40, False)
    (folder / "tls.crt").unlink()
    assert shown(folder) == (None, False)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"tls.crt": b"no certificate", "tls.key": b"no key"}, id="text"),
        pytest.param({"tls.crt": b"", "tls.key": b""}, id="empty"),
        pytest.param({"tls.crt": issued().public, "tls.key": issued().private}, id="another certificate's key"),
        pytest.param({"tls.crt": b"\xff\xfe", "tls.key": issued().private}, id="bytes"),
    ],
)
def test_what_haproxy_would_not_start_with_is_refused(folder: Path, files: dict[str, bytes]) -> None:
    """And a HAProxy that shows an earlier one goes on with that."""
    certificates = Certificates(folder)
    put(folder, issued())
    certificates.look()
    before = certificates._print
    for name, content in files.items():
        (folder / name).write_bytes(content)
    certificates.look()
    assert certificates.path is None, "a HAProxy that starts now does without"
    assert certificates.refused
    assert not certificates.asks_for_reload(before)
    assert certificates.renewed(before) is None


def test_without_a_folder_there_is_nothing_to_do() -> None:
    """Whoever asked for no TLS gets no reload."""
    certificates = Certificates(None)
    certificates.look()
    assert certificates.path is None
    assert not certificates.asks_for_reload(None)


@pytest.mark.integration
async def test_a_certificate_comes_is_renewed_and_goes(world, folder, load):
    """Without a restart; renewed without a request that fails. HTTP/2 is offered, as gRPC needs it."""
    await world.stop_agent()
    world.listener = replace(world.listener, certificates=folder)
    await world.start_agent()
    world.model("digits")
    replica = await world.replica()
    world.endpoint("digits", replica)
    await world.until_healthy("digits", replica)
    assert await certificate(world) is None

    async def shows(wanted):
        world.wake()  # instead of waiting for the next look
        return await certificate(world) == wanted

    put(folder, issued())
    first = (folder / "tls.crt").read_bytes()
    await world.until(lambda: shows(first), "TLS")
    async with load("digits", clients=2) as seen:
        put(folder, issued())
        second = (folder / "tls.crt").read_bytes()
        await world.until(lambda: shows(second), "another certificate")
        assert (await asked(world))["model_name"] == "digits"
    assert seen.failures == []
    assert seen.statuses
    (folder / "tls.crt").unlink()
    await world.until(lambda: shows(None), "no TLS")


async def certificate(world) -> bytes | None:
    """Return what the gateway shows, None where it speaks no TLS; anything else fails."""
    try:
        _, writer = await asyncio.open_connection(world.listener.host, 8443, ssl=trusting(), server_hostname=NAME)
    except ConnectionError:
        return None
    try:
        session = writer.get_extra_info("ssl_object")
        assert session.selected_alpn_protocol() == "h2"
        assert session.version() in {"TLSv1.2", "TLSv1.3"}
        return ssl.DER_cert_to_PEM_cert(session.getpeercert(binary_form=True)).encode()
    finally:
        writer.close()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=OURS.certificate.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def asked(world):
    url = f"https://{world.listener.host}:8443/v2/models/digits/infer"
    context = ssl.create_default_context(cadata=OURS.certificate.decode())
    asking = {"data": b"{}", "ssl": context, "server_hostname": NAME}
    async with aiohttp.ClientSession() as session, session.post(url, **asking) as answer:
        assert answer.status == 200
        return await answer.json()

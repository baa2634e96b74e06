"""Plain HTTP to a cluster as its kubeconfig allows it, for tests that say every byte of a request themselves."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from kubernetes.aio import client, config

_WITHIN = aiohttp.ClientTimeout(total=60)


@dataclass(frozen=True)
class Access:
    """Where a server is, with a session of an administrator and one that shows nobody's credentials."""

    url: str
    admin: aiohttp.ClientSession
    stranger: aiohttp.ClientSession


@asynccontextmanager
async def access(kubeconfig: Path) -> AsyncIterator[Access]:
    """Open both sessions; a stranger has no client certificate, as that would count before any token."""
    found = client.Configuration()
    await config.load_kube_config(str(kubeconfig), client_configuration=found)
    url = found.host.rstrip("/")
    known, unknown = (_trust(found) for _ in range(2)) if url.startswith("https") else (False, False)
    if isinstance(known, ssl.SSLContext) and found.cert_file:
        known.load_cert_chain(found.cert_file, found.key_file)
    token = await found.get_api_key_with_prefix("BearerToken")
    headers = {"Authorization": token} if token else {}
    async with (
        aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=known), timeout=_WITHIN) as admin,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=unknown), timeout=_WITHIN) as stranger,
    ):
        yield Access(url, admin, stranger)


def _trust(found: client.Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=found.ssl_ca_cert)
    if not found.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

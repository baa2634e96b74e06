"""What the tests of writes share: a sender of requests to a server of the embedded cluster."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest

from trimtab.local.apiserver.server import ApiServer

PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class Answer(NamedTuple):
    """What the server says to one request."""

    status: int
    body: Any
    warnings: list[str]

    @property
    def message(self) -> str:
        return str(self.body["message"])

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Field and message of each cause."""
        found = (self.body.get("details") or {}).get("causes") or []
        return [(cause.get("field", ""), cause["message"]) for cause in found]


class Sender:
    """Sends requests with the token of the server; paths are below the namespace `default`, unless they are whole."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def __call__(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Answer:
        """`kind` is the content type, or the short name of one for a patch."""
        whole = path if path.startswith("/") else f"/api/v1/namespaces/default/{path}"
        data = (
            body if isinstance(body, bytes | None) else (body if isinstance(body, str) else json.dumps(body)).encode()
        )
        headers = {"Content-Type": PATCHES.get(kind, kind), "User-Agent": "tests/1"}
        async with self.session.request(method, whole, data=data, headers=headers) as response:
            return Answer(response.status, await response.json(), response.headers.getall("Warning", []))

    async def make(self, path: str, body: Any) -> Any:
        """The object, created."""
        answer = await self("POST", path, body)
        assert answer.status == 201, answer.body
        return answer.body


@pytest.fixture
async def send(api_server: ApiServer) -> AsyncIterator[Sender]:
    """Requests to the server, as its administrator."""
    async with aiohttp.ClientSession(api_server.url, headers={"Authorization": "Bearer secret"}) as session:
        yield Sender(session)

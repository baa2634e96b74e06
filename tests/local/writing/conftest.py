"""What the tests of writes share: a sender of requests to a server of the embedded cluster."""

import copy
import io
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest

from trimtab.local.apiserver.server import ApiServer

Changes = dict[str, Any]
"""New values by dotted path."""

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
        if body is not None:
            body = io.BytesIO((body if isinstance(body, str) else json.dumps(body)).encode())
        headers = {"Content-Type": PATCHES.get(kind, kind), "User-Agent": "tests/1"}
        async with self.session.request(method, whole, data=body, headers=headers) as response:
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


def changed(obj: Any, changes: Changes) -> Any:
    """A copy of an object with other values at dotted paths; None takes one away, a new place in a list appends."""
    out = copy.deepcopy(obj)
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        at = out
        for part in parents:
            at = at[part] if isinstance(at, list) else at.setdefault(part, {})
        if value is None:
            del at[last]
        elif isinstance(last, int) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return out


class Judge:
    """Asks what is wrong with objects of a kind that differ from a valid one."""

    def __init__(self, send: Sender) -> None:
        self.send = send

    async def new(self, path: str, valid: Any, changes: Changes) -> list[str]:
        """What is wrong with a new object: nothing where it is made."""
        return _wrong(await self.send("POST", path, changed(valid, changes)))

    async def update(self, path: str, valid: Any, changes: Changes) -> list[str]:
        """What is wrong with changing the valid object, which is made first."""
        made = await self.send.make(path, valid)
        return _wrong(await self.send("PUT", f"{path}/{valid['metadata']['name']}", changed(made, changes)))


def _wrong(answer: Answer) -> list[str]:
    assert answer.status in (200, 201, 422), answer.body
    return [f"{field}: {message}" for field, message in answer.causes] if answer.status == 422 else []


@pytest.fixture
def judge(send: Sender) -> Judge:
    return Judge(send)

"""SQS queues with EventBridge's events: one task per queue that listens until its last pool is gone."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import Reason
from trimtab.effects.pools.aws import Aws
from trimtab.effects.pools.provider import ProviderError
from trimtab.planning.groups import Trouble

log = structlog.get_logger(__name__)

Handle = Callable[[str, str], Awaitable[bool]]
"""Called with a message's body and the queue's region; returns whether the message is done with."""

_POLL_S = 10
_VISIBILITY_S = 30
_BATCH = 10
_BACKOFF_LAST_S = 60.0
_REGION = re.compile(r"^https?://(?:sqs\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.")


@dataclass(slots=True)
class _Listener:
    task: asyncio.Task[None]
    problem: Trouble | None = None


class Queues:
    """Listeners by queue URL."""

    def __init__(self, aws: Aws, handle: Handle, *, poll_s: int = _POLL_S, visibility_s: int = _VISIBILITY_S) -> None:
        """`poll_s` is how long a poll waits for messages, `visibility_s` when one that is not done with comes back."""
        self._aws = aws
        self._handle = handle
        self._poll_s = poll_s
        self._visibility_s = visibility_s
        self._listeners: dict[str, _Listener] = {}

    def sync(self, pools: Sequence[CapacityPool]) -> None:
        """Listen to the queues that these pools name, and to no others."""
        wanted = {url: pool for pool in pools if (url := pool.spec.interruption.queue_url) is not None}
        for url in self._listeners.keys() - wanted.keys():
            self._listeners.pop(url).task.cancel()
        for url in wanted.keys() - self._listeners.keys():
            task = asyncio.create_task(self._listen(url, wanted[url]), name=f"listen to {url}")
            self._listeners[url] = _Listener(task)

    def problem(self, pool: CapacityPool) -> Trouble | None:
        """Return why a pool's queue cannot be read; None while it can, or there is none."""
        listener = self._listeners.get(pool.spec.interruption.queue_url or "")
        return listener.problem if listener is not None else None

    async def close(self) -> None:
        """End every listener; a message in work is delivered again."""
        tasks = [listener.task for listener in self._listeners.values()]
        self._listeners.clear()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _listen(self, url: str, pool: CapacityPool) -> None:
        failures = 0
        while True:
            try:
                await self._round(url, region_of(url, pool))
                failures = 0
                self._told(url, None)
            except ProviderError as error:
                failures += 1
                message = f"spec.interruption.queueUrl: {error.message}; notices do not arrive until then"
                self._told(url, Trouble(error.reason, message))
            except Exception:
                failures += 1
                log.exception("queue.failed", queue=url)
            if failures:
                await asyncio.sleep(_backoff(failures, random.random()))  # noqa: S311

    async def _round(self, url: str, region: str) -> None:
        def receive(sqs: Any) -> list[dict[str, Any]]:
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=self._poll_s,
                VisibilityTimeout=self._visibility_s,
            )
            found: list[dict[str, Any]] = answer.get("Messages", [])
            return found

        for message in await self._aws.call("sqs", region, receive):
            if await self._handle(message["Body"], region):
                receipt = message["ReceiptHandle"]
                await self._aws.call("sqs", region, partial(_delete, url=url, receipt=receipt))

    def _told(self, url: str, problem: Trouble | None) -> None:
        listener = self._listeners.get(url)
        if listener is None or listener.problem == problem:
            return
        listener.problem = problem
        if problem is not None:
            log.warning("queue.not_readable", queue=url, error=problem.message)
        else:
            log.info("queue.readable_again", queue=url)


def _backoff(failures: int, jitter: float) -> float:
    return min(_BACKOFF_LAST_S, 2.0 ** min(failures, 8)) / 2 * (1 + jitter)


def _delete(sqs: Any, *, url: str, receipt: str) -> None:
    sqs.delete_message(QueueUrl=url, ReceiptHandle=receipt)


def region_of(url: str, pool: CapacityPool) -> str:
    """Return the region of a queue: its address tells; behind an endpoint of one's own the pool's or ours.

    Raises:
        ProviderError: Neither tells.
    """
    if match := _REGION.match(url):
        return match[1]
    provider = pool.spec.provider
    group = provider.auto_scaling_group or provider.eks_nodegroup
    if group is not None:
        return group.region
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        return region
    message = f"{url} names no region; use https://sqs.<region>.amazonaws.com/…, or set AWS_REGION on the operator"
    raise ProviderError(Reason.INVALID_SPEC, message)

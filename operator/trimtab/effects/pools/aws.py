"""AWS: one client per service and region, in threads with an owner, and its errors in our words.

Credentials come from boto3's usual chain (environment, web identity, instance profile) and appear nowhere: no message
of ours repeats a request. Endpoints are AWS's own, or those of AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_<SERVICE>, which
botocore reads itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from trimtab.api.conditions import Reason
from trimtab.effects.pools.provider import ProviderError

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 15
ATTEMPTS = 4
# Longer than a long poll of a queue (10 s) and than every other call with its retries in ordinary times.
CALL_TIMEOUT_S = 60.0

_THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"}
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
}
_MISSING = {"ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}


class Aws:
    """Calls AWS from an event loop; ended by `close`."""

    def __init__(self, threads: int = 8) -> None:
        """`threads` bounds the calls that run at once; each queue that is listened to takes one."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="aws")
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    async def call(self, service: str, region: str, ask: Callable[[Any], T]) -> T:
        """Return what `ask` returns for the service's client of that region; it runs in a thread and may block.

        Raises:
            ProviderError: AWS refused, cannot be reached, or did not answer in a minute.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await loop.run_in_executor(self._executor, self._ask, service, region, ask)
        except TimeoutError:
            message = f"{service} in {region} did not answer for {CALL_TIMEOUT_S:.0f} s; check network and endpoint"
            raise ProviderError(Reason.PROVIDER_UNREACHABLE, message) from None

    async def close(self) -> None:
        """End the threads, once the calls that run have ended; what waits is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._executor.shutdown)
        for client in self._clients.values():
            client.close()

    def _ask(self, service: str, region: str, ask: Callable[[Any], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        try:
            return ask(self._client(service, region))
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            raise translated(error, service, region) from None

    def _client(self, service: str, region: str) -> Any:
        with self._lock:  # sessions are not safe to share while they make clients
            if (service, region) not in self._clients:
                self._clients[service, region] = _client(service, region)
            return self._clients[service, region]


def _client(service: str, region: str) -> Any:
    import boto3  # noqa: PLC0415 - costs half a second, and only pools of AWS need it
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "adaptive", "total_max_attempts": ATTEMPTS},
        max_pool_connections=8,
    )
    return boto3.session.Session().client(service, region_name=region, config=config)


def translated(error: Exception, service: str, region: str) -> ProviderError:
    """Return an error of botocore as ours. No message repeats what was sent."""
    from botocore import exceptions  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    where = f"{service} in {region}"
    if isinstance(error, exceptions.ClientError):
        return _refused(error, where)
    if isinstance(
        error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError | exceptions.TokenRetrievalError
    ):
        return ProviderError(
            Reason.ACCESS_DENIED, f"{where}: no credentials were found; give the operator's service account a role"
        )
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError | ResponseParserError):
        return ProviderError(
            Reason.PROVIDER_UNREACHABLE,
            f"{where} cannot be used ({type(error).__name__}); check network, endpoint and proxy",
        )
    return ProviderError(Reason.GROUP_UNFIT, f"{where}: {error}")


def _refused(error: Any, where: str) -> ProviderError:
    answer = error.response.get("Error", {})
    code, said, action = str(answer.get("Code", "")), str(answer.get("Message", "")), error.operation_name
    if code in _THROTTLED:
        return ProviderError(Reason.PROVIDER_THROTTLED, f"{where} is throttled ({action}: {code}); tried again later")
    if code in _DENIED:
        # AWS's own sentence names the role and the resource; the action is what has to be allowed.
        return ProviderError(
            Reason.ACCESS_DENIED,
            f"{where} refused {action} ({code}); allow it in the operator's role, see docs/pools.md",
        )
    if code in _MISSING:
        return ProviderError(Reason.GROUP_NOT_FOUND, f"{where}: {said}; correct name and region")
    return ProviderError(Reason.GROUP_UNFIT, f"{where} refused {action} ({code}): {said}")

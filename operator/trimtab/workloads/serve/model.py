"""One version of one model: what it takes, its queue, its engine while it has one, its kept answers, its numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum

from trimtab.api.serving import Engine
from trimtab.workloads.serve.artifact import ModelSpec
from trimtab.workloads.serve.batching import Batcher, BatchRules, Late, max_concurrency
from trimtab.workloads.serve.cache import LARGEST_KEYED_BYTES, CacheRules, Kept, feeds_key, own_copies
from trimtab.workloads.serve.datatypes import Array, Feeds, Outcome, Run
from trimtab.workloads.serve.flights import Flights
from trimtab.workloads.serve.messages import InferenceRequest
from trimtab.workloads.serve.metrics import Metrics
from trimtab.workloads.serve.refusals import Refused
from trimtab.workloads.serve.waiting import QueueFull

_QUEUE_BATCHES = 8  # beyond max_concurrency clients did not come through the gateway; memory is for tensors, not queues
_QUEUE_LEAST = 64
LOADING = "the model is still loading"


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What is served under a name, and how; durations in seconds."""

    name: str
    revision: str
    artifact_uri: str
    artifact_digest: str
    engine: Engine = Engine.AUTO
    """What the artifact must be for; Auto takes any."""
    max_batch: int = 16
    max_wait_s: float = 0.0
    lazy: bool = False
    """Whether it is loaded with its first request, and unloaded where others need its memory."""
    cache: CacheRules | None = None


class State(Enum):
    """Where a model is in its life, in the protocol's words."""

    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"


class Asked(ABC):
    """A checked request on its way through a model; whoever asks says in a subclass how it gets back."""

    __slots__ = ("arrived", "client", "deadline", "feeds", "gone", "group", "model", "rows")

    gone: bool

    def __init__(
        self,
        model: Model,
        request: InferenceRequest,
        feeds: Feeds,
        arrived: float,
        deadline: float | None,
        client: Hashable,
    ) -> None:
        self.model = model
        self.feeds = feeds
        self.rows = request.rows
        self.group = request.group
        self.arrived = arrived
        self.client = client
        self.deadline = deadline
        if request.timeout_s is not None:
            own = arrived + request.timeout_s
            self.deadline = own if deadline is None else min(own, deadline)

    @property
    @abstractmethod
    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more."""

    @abstractmethod
    def reply(self, outcome: list[Array] | Refused) -> None:
        """Take the answer; called once."""

    def drop(self) -> None:
        self.model.metrics.abandoned += 1
        self.reply(Refused(499, "the client left"))

    def finish(self, outcome: Outcome) -> None:
        self.reply(as_refusal(outcome) if isinstance(outcome, Exception) else outcome)


def as_refusal(error: Exception) -> Refused:
    """Return what a client hears of an error."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, Late):
        return Refused(504, str(error))
    if isinstance(error, QueueFull):
        return too_many(error, 1)
    # ONNX Runtime blames the data by this class (an index out of range); the rest is the model's or ours.
    status = 400 if type(error).__name__ == "InvalidArgument" else 500
    return Refused(status, f"the model failed: {str(error).partition(chr(10))[0]}")


def too_many(full: QueueFull, retry_s: int) -> Refused:
    """Return what a client hears of a queue that is full."""
    if full.greedy:
        return Refused(429, "this client's share of the queue is full; send fewer at once", retry_s)
    # 503, not 429: this pod is full, not the client greedy, and a gateway may try another pod after a 503
    return Refused(503, "too many requests wait here; try again", retry_s)


class Model:
    """Takes requests from the moment its tensors are known; answers them while it has an engine."""

    def __init__(self, settings: ModelSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.name = settings.name
        self.revision = settings.revision
        self.metrics = Metrics(settings.name, settings.revision)
        self.state = State.UNAVAILABLE
        self.reason = "not loaded yet"
        self.spec: ModelSpec | None = None
        self.used_at = 0.0
        self.on_demand = settings.lazy
        """Whether the next request loads it."""
        self.wanted: Callable[[Model], None] = _nobody
        """Called when a request comes for a lazy model without an engine."""
        self._clock = clock
        self._batcher: Batcher | None = None
        self._flights: Flights | None = None
        self._outputs: Kept[list[Array]] | None = Kept(settings.cache, clock) if settings.cache else None
        self.wire: Kept[tuple[bytes, bytes]] | None = Kept(settings.cache, clock) if settings.cache else None
        """Header lines and body by request as it was sent: what answers before anything is parsed."""

    @property
    def busy(self) -> bool:
        return self._batcher is not None and not self._batcher.idle

    @property
    def takes_requests(self) -> bool:
        """Whether a request is answered, be it after loading."""
        return self.spec is not None and (self.on_demand or self.state is State.READY)

    def describe(self, spec: ModelSpec) -> None:
        """Learn which tensors the model takes."""
        self.spec = spec
        together = self.settings.max_batch if spec.stackable else 1
        self.metrics.max_concurrency = max_concurrency(together)
        if self._batcher is None:
            rules = BatchRules(
                max_batch=self.settings.max_batch,
                max_wait_s=self.settings.max_wait_s,
                capacity=max(_QUEUE_LEAST, _QUEUE_BATCHES * self.settings.max_batch),
                stackable=spec.stackable,
                even=spec.stackable and not spec.has_free_sizes,
                spec=spec if spec.pads else None,
            )
            self._batcher = Batcher(rules, self.metrics, self._clock)
            if self._outputs is not None:
                self._flights = Flights(self._batcher.submit, self.keep, rules.capacity)

    def attach(self, run: Run) -> None:
        """Answer with this engine from now on."""
        if self._batcher is not None:
            self._batcher.attach(run)
        self.metrics.loaded = True
        self.state, self.reason = State.READY, ""

    def detach(self, reason: str) -> Run | None:
        """Let go of the engine and of what it answered; its memory is free when the caller drops it, too."""
        run = self._batcher.detach() if self._batcher is not None else None
        for kept in (self._outputs, self.wire):
            if kept is not None:
                kept.clear()
        self.metrics.loaded = False
        self.state, self.reason = State.UNAVAILABLE, reason
        return run

    async def quiet(self) -> None:
        """Wait until nothing runs and nothing waits."""
        if self._batcher is not None:
            await self._batcher.quiet()

    async def after_run(self) -> None:
        """Wait until the next answers are written; return at once where nobody waits for one."""
        if self._batcher is not None:
            await self._batcher.after_run()

    def fail_waiting(self, refusal: Refused) -> None:
        """Refuse everything that waits for an engine."""
        if self._batcher is not None:
            self._batcher.fail(refusal)

    def close(self) -> None:
        if self._batcher is not None:
            self._batcher.close()

    def tensors(self) -> ModelSpec:
        """Return what the model takes.

        Raises:
            Refused: It takes nothing now.
        """
        if self.spec is None or not (self.state is State.READY or self.takes_requests):
            if self.state is State.LOADING or self.spec is None:
                raise Refused(503, LOADING, 1)
            raise Refused(503, f"model '{self.name}' is not loaded: {self.reason}", 1)
        return self.spec

    def ask(self, asked: Asked) -> None:
        """See to it that `asked` is answered; at once where the answer is known.

        Raises:
            Refused: It is not taken.
        """
        key = None
        self.used_at = asked.arrived
        if self._outputs is not None and sum(array.nbytes for array in asked.feeds.values()) <= LARGEST_KEYED_BYTES:
            key = feeds_key(asked.feeds)
            found = self._outputs.get(key)
            if found is not None:
                self.metrics.cache_hits += 1
                asked.finish(found)
                return
        batcher = self._batcher
        if batcher is None:
            raise Refused(503, LOADING, 1)
        try:
            if key is None or self._flights is None:
                batcher.submit(asked)
            elif self._flights.ask(key, asked):
                self.metrics.cache_joined += 1
            else:
                self.metrics.cache_misses += 1
        except QueueFull as full:
            raise too_many(full, batcher.retry_after_s) from None
        if self.state is not State.READY:
            self.wanted(self)

    def keep(self, key: bytes, outputs: list[Array]) -> None:
        """Keep the answer to a question."""
        if self._outputs is not None and self.state is State.READY:
            self._outputs.put(key, *own_copies(outputs))

    def numbers(self) -> Metrics:
        """Return the model's numbers as they are now."""
        self.metrics.queue_depth = self._batcher.waiting if self._batcher else 0
        self.metrics.cache_entries = len(self._outputs) if self._outputs is not None else 0
        return self.metrics


def _nobody(model: Model) -> None:
    """Nothing loads models here."""

"""What the gateways of a namespace said last, added up; of a new report only what changed is read.

A namespace's gateways report a hundred models and more, every second while one of them is awake, and few change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import reduce

from pydantic_core import from_json, to_json

from trimtab.api.gateway import EndpointState, EndpointStats, GatewayStats, ModelStats, RevisionStats


class Report:
    """One gateway's last report, model by model as it came: read, it would take several times the memory."""

    def __init__(self) -> None:
        self.tag: str | None = None
        """What names it, where the gateway does."""
        self.proxy_up = False
        self.heard = False
        """Whether the gateway answered when it was last asked."""
        self.models: dict[str, bytes] = {}

    def take(self, body: bytes, tag: str | None) -> Collection[str]:
        """Take in a new report; return the models of which it says something else.

        Raises:
            ValueError: It is none, and nothing was taken in.
        """
        raw = from_json(body)
        models = raw.get("models", {}) if isinstance(raw, dict) else None
        envelope = GatewayStats.model_validate({**raw, "models": {}} if isinstance(models, dict) else raw)
        said = {name: to_json(model) for name, model in (models or {}).items()}
        changed = {name for name, model in said.items() if self.models.get(name) != model}
        for name in changed:
            ModelStats.model_validate_json(said[name])
        gone = self.models.keys() - said.keys()
        for name in gone:
            del self.models[name]
        self.models |= {name: said[name] for name in changed}
        self.tag, self.proxy_up, self.heard = tag, envelope.proxy_up, True
        return changed | gone


class Reports:
    """The last reports of a namespace's gateways, by address."""

    def __init__(self) -> None:
        self._reports: dict[str, Report] = {}
        self._sum: dict[str, ModelStats] = {}
        self._stale: set[str] = set()

    def follow(self, addresses: Iterable[str]) -> None:
        """From now on the gateways are those at these addresses."""
        wanted = sorted(addresses)
        if wanted != list(self._reports):
            self._stale.update(*(report.models for report in self._reports.values()))
            self._reports = {address: self._reports.get(address) or Report() for address in wanted}

    def tag(self, address: str) -> str | None:
        """Return what names the last report of a gateway."""
        report = self._reports.get(address)
        return report.tag if report else None

    def take(self, address: str, body: bytes, tag: str | None) -> None:
        """Take in what a gateway reports; one that is no longer followed says nothing.

        Raises:
            ValueError: It is no report.
        """
        if (report := self._reports.get(address)) is not None:
            self._stale.update(report.take(body, tag))

    def confirm(self, address: str, tag: str) -> None:
        """Note that a gateway's report is still the one of this name; of another one it says nothing."""
        report = self._reports.get(address)
        if report is not None and report.tag == tag:
            report.heard = True

    def lose(self, address: str) -> None:
        """Note that a gateway did not answer."""
        if (report := self._reports.get(address)) is not None:
            report.heard = False

    def total(self) -> Mapping[str, ModelStats] | None:
        """Return the sum by model, None where a gateway did not answer or has no HAProxy.

        What did not change is the same object as in the sum before, which itself stays as it was.
        """
        reports = self._reports.values()
        if not reports or not all(report.heard and report.proxy_up for report in reports):
            return None
        if self._stale:
            known = {**self._sum}
            for name in self._stale:
                said = [report.models.get(name) for report in reports]
                known.pop(name, None)
                if any(model is not None for model in said):
                    known[name] = reduce(_sum, (_read(model) for model in said))
            self._sum, self._stale = known, set()
        return self._sum


def _read(model: bytes | None) -> ModelStats:
    return ModelStats() if model is None else ModelStats.model_validate_json(model)


# What several gateways say of one endpoint is as good as the worst of it.
_WORST_FIRST = (EndpointState.DRAINING, EndpointState.UNHEALTHY, EndpointState.STARTING, EndpointState.HEALTHY)


def _sum(one: ModelStats, other: ModelStats) -> ModelStats:
    ours, theirs = ({endpoint.address: endpoint for endpoint in stats.endpoints} for stats in (one, other))
    # Who takes away what served before needs to know that every gateway has the new one: some may lag behind.
    endpoints = {address: _joint(found, _unheard_of(found)) for address, found in {**ours, **theirs}.items()}
    endpoints |= {address: _joint(ours[address], theirs[address]) for address in ours.keys() & theirs.keys()}
    return ModelStats(
        in_flight=one.in_flight + other.in_flight,
        queued=one.queued + other.queued,
        requests_total=one.requests_total + other.requests_total,
        errors_total=one.errors_total + other.errors_total,
        latency_ms_average=max(one.latency_ms_average, other.latency_ms_average),
        endpoints=list(endpoints.values()),
        revisions={
            name: _both(one.revisions.get(name, RevisionStats()), other.revisions.get(name, RevisionStats()))
            for name in {*one.revisions, *other.revisions}
        },
    )


def _both(one: RevisionStats, other: RevisionStats) -> RevisionStats:
    return RevisionStats(
        requests=one.requests + other.requests,
        errors=one.errors + other.errors,
        latencies=dict(Counter(one.latencies) + Counter(other.latencies)),
    )


def _unheard_of(endpoint: EndpointStats) -> EndpointStats:
    """Return what a gateway would say of an endpoint that it does not know."""
    return endpoint.model_copy(update={"state": EndpointState.STARTING, "in_flight": 0})


def _joint(one: EndpointStats, other: EndpointStats) -> EndpointStats:
    return one.model_copy(
        update={
            "state": min(one.state, other.state, key=_WORST_FIRST.index),
            "in_flight": one.in_flight + other.in_flight,
            "max_concurrency": max(one.max_concurrency, other.max_concurrency),
        }
    )

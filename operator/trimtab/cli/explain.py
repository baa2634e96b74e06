"""`trimtab explain`: why a model is as it is, from its conditions, decisions and events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import click

from trimtab.api.conditions import READY, RECONCILING, STALLED, moment
from trimtab.api.status import ConditionStatus
from trimtab.cli.asking import (
    Reads,
    chosen_namespace,
    connected,
    kubeconfig_option,
    model_named,
    namespace_option,
)
from trimtab.cli.printing import echo_json, output_option
from trimtab.cli.status import read_status

_EVENTS_SHOWN = 10


@click.command()
@click.argument("name")
@namespace_option
@kubeconfig_option
@output_option
def explain(name: str, namespace: str | None, kubeconfig: str | None, output: str) -> None:
    """Say why the model NAME is as it is: what is amiss, what was decided, what happened."""
    told = asyncio.run(_asked(name, chosen_namespace(namespace, kubeconfig), kubeconfig))
    if output == "json":
        echo_json(told)
        return
    for line in as_text(told, datetime.now(UTC)):
        click.echo(line)


async def _asked(name: str, namespace: str, kubeconfig: str | None) -> dict[str, Any]:
    async with connected(kubeconfig) as cluster:
        model = await model_named(cluster, name, namespace)
        return explained(model, await _events(cluster, model))


async def _events(cluster: Reads, model: dict[str, Any]) -> list[dict[str, Any]]:
    from trimtab.effects.kinds import EVENTS

    meta = model["metadata"]
    events = await cluster.list(EVENTS, meta["namespace"])
    return [event for event in events if (event.get("involvedObject") or {}).get("uid") == meta.get("uid")]


def explained(model: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return why a model is as it is: what `--output json` prints.

    `amiss` has the conditions that are not as they should be, the one that decides first; `decisions` are newest
    first, as in the status; `events` are newest first, at most ten.
    """
    state = read_status(model)
    conditions = state.conditions if state else []
    ordered = sorted(conditions, key=lambda c: (c.type != STALLED, c.type != RECONCILING, c.type != READY, c.type))
    newest = sorted(events, key=_when, reverse=True)[:_EVENTS_SHOWN]
    return {
        "namespace": model["metadata"]["namespace"],
        "name": model["metadata"]["name"],
        "read": state is not None and state.observed_generation == model["metadata"].get("generation"),
        "amiss": [_entry(c.last_transition_time, c.type, c.reason, c.message) for c in ordered if not _fine(c)],
        "decisions": [_entry(d.time, d.kind, "", d.message) for d in (state.decisions if state else [])],
        "events": [_entry(_when(e), e.get("type", ""), e.get("reason", ""), e.get("message", "")) for e in newest],
    }


def _entry(time: str, kind: str, reason: str, message: str) -> dict[str, str]:
    return {"time": time, "kind": kind, "reason": reason, "message": message}


def _fine(condition: ConditionStatus) -> bool:
    abnormal = condition.type in {STALLED, RECONCILING}
    return condition.status == ("False" if abnormal else "True")


def _when(event: dict[str, Any]) -> str:
    told = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return str(told or "")


def as_text(told: dict[str, Any], now: datetime) -> list[str]:
    """Return an explanation as lines for a terminal."""
    title = f"{told['namespace']}/{told['name']}"
    if not told["amiss"]:
        lines = [f"{title} is as it should be" if told["read"] else f"{title}: the operator has not read it yet"]
    else:
        lines = [f"{title}: what is amiss"]
        lines += [_line(entry, now, f"{entry['kind']} {entry['reason']}") for entry in _together(told["amiss"])]
    if told["decisions"]:
        lines += ["", "decided, newest first"]
        lines += [_line(entry, now, entry["kind"]) for entry in told["decisions"]]
    if told["events"]:
        lines += ["", "happened, newest first"]
        lines += [_line(entry, now, f"{entry['kind']} {entry['reason']}") for entry in told["events"]]
    return lines


def _together(amiss: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return conditions that say the same as one entry: a problem of one stage is that of all after it."""
    kinds: dict[tuple[str, str], list[dict[str, str]]] = {}
    for entry in amiss:
        kinds.setdefault((entry["reason"], entry["message"]), []).append(entry)
    return [{**same[0], "kind": ", ".join(entry["kind"] for entry in same)} for same in kinds.values()]


def _line(entry: dict[str, str], now: datetime, what: str) -> str:
    return f"  {_age(entry['time'], now):>6}  {what}: {entry['message']}"


def _age(time: str, now: datetime) -> str:
    """Return how long ago something was, as kubectl says it: 45s, 12m, 5h, 3d."""
    if not time:
        return "?"
    passed = max(0, int((now - moment(time)).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if passed >= 2 * size:
            return f"{passed // size}{unit}"
    return f"{passed}s"

"""One operator and thousands of models: what their life, their rest and a restart cost.

    python tests/bench/operator/scale.py --models 5000 --folder /tmp/scale --results /tmp/scale.jsonl

The operator is the real process, asked through the embedded API server, which is a process of its own; kubelets, the
Job and Deployment controllers and what gateways report are played (played.py). Parts: `life` creates the models and
waits until all are Ready; `rest`, `restart`, `awake` and `peers` go on from the folder that it leaves. Results are
added to the file, so that a run may have pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import HERE, Cluster, Operator, Watched, cluster

_OPERATOR = "OpenAPI-Generator"
_WATCHER = "kopf"
_MODELS = "optimizedmodels.trimtab.dev"
_QUIET_SECONDS = 5.0
# Models that were changed on purpose may be awake.
_QUIET_LOOKS_PER_SECOND = 4
_NEVER_QUIET_SECONDS = float(os.environ.get("SCALE_NEVER_QUIET", "240"))


def quantile(before: list[tuple[float, int]], after: list[tuple[float, int]], share: float) -> float | None:
    """Return the bound under which `share` of the reconciles between two readings stayed."""
    counts = [(bound, count - before[place][1] if before else count) for place, (bound, count) in enumerate(after)]
    if not counts or not counts[-1][1]:
        return None
    return next(bound for bound, count in counts if count >= share * counts[-1][1])


def difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return dict(+(Counter(after) - Counter(before)))


def writes(requests: dict[str, int], client: str = _OPERATOR) -> dict[str, int]:
    """Return a client's writes by verb and resource, without those of its Lease."""
    found = ((key.split(" ", 1), count) for key, count in requests.items())
    return {
        what: count
        for (who, what), count in found
        if who == client and what.split()[0] in {"POST", "PATCH", "PUT", "DELETE"}
    }


def of_the_operator(requests: dict[str, int]) -> dict[str, int]:
    return {key: count for key, count in requests.items() if key.split()[0] in {_OPERATOR, _WATCHER}}


def until_quiet(cluster: Cluster, operator: Operator, began: float, models: int) -> float:
    """Wait until the operator is at rest: no request but watches, and little work; return since when, in seconds."""
    operator.until_up()
    while (
        not (found := operator.reconciles()) or found[-1][1] < models
    ) and time.time() - began < _NEVER_QUIET_SECONDS:
        time.sleep(0.2)
    quiet_since, before = time.time(), operator.reconciles()[-1][1]
    known = of_the_operator(cluster.ask("requests")["by_kind"])
    while time.time() - quiet_since < _QUIET_SECONDS and time.time() - began < _NEVER_QUIET_SECONDS:
        time.sleep(0.5)
        now = operator.reconciles()[-1][1]
        requests = of_the_operator(cluster.ask("requests")["by_kind"])
        if requests != known or now - before > 0.5 * _QUIET_LOOKS_PER_SECOND:
            quiet_since = time.time()
        before, known = now, requests
    return quiet_since - began


def life(cluster: Cluster, folder: Path, models: int, rate: float, within: float) -> dict[str, Any]:
    """Create the models that are missing while the operator runs; wait until all are Ready, or `within` seconds passed.

    Counts and times of a piece are its own: what an earlier piece made Ready is left out of them.
    """
    operator = Operator(folder)
    try:
        start = cluster.ask("state")
        first = start["objects"].get("optimizedmodels.trimtab.dev", 0)
        operator.until_up()
        time.sleep(3)  # its watches open
        empty = operator.megabytes()[0]
        began, used, served = time.time(), operator.processor_seconds(), cluster.processor_seconds()
        before = operator.reconciles()
        requests = cluster.ask("requests")
        cluster.ask("create", first=first, last=models, rate=rate)
        while (state := cluster.ask("state"))["ready"] < models and time.time() - began < within:
            time.sleep(0.5)
        done = state["at"] - began
        after, asked = operator.reconciles(), cluster.ask("requests")
        made = difference(asked["by_kind"], requests["by_kind"])
        total = max(1, state["ready"] - start["ready"])
        written = writes(made)
        now, peak = operator.megabytes()
        seconds = Counter(asked["by_second"])
        return {
            "ready": state["ready"],
            "create to last Ready, s": done,
            "API server, processor seconds": cluster.processor_seconds() - served,
            "processor seconds": operator.processor_seconds() - used,
            "reconcile p50, ms": 1000 * (quantile(before, after, 0.5) or 0),
            "reconcile p99, ms": 1000 * (quantile(before, after, 0.99) or 0),
            "reconciles per model": (after[-1][1] - (before[-1][1] if before else 0)) / total if after else None,
            "writes per model": sum(written.values()) / total,
            "writes": {what: round(count / total, 3) for what, count in sorted(written.items())},
            "reads": {k: v for k, v in sorted(of_the_operator(made).items()) if k.split(" ", 1)[1] not in written},
            "peak requests/s": max(n for k, n in seconds.items() if k.startswith(_OPERATOR)),
            "memory empty, MB": empty,
            "memory, MB": now,
            "memory peak, MB": peak,
            "objects": state["objects"],
        }
    finally:
        operator.stop()


def rest(cluster: Cluster, folder: Path, seconds: float, models: int) -> dict[str, Any]:
    """Start the operator over Ready models and look at it when it is quiet."""
    before = cluster.ask("requests")["by_kind"]
    began = time.time()
    operator = Operator(folder)
    try:
        quiet = until_quiet(cluster, operator, began, models)
        started_with = operator.processor_seconds()
        asked = cluster.ask("requests")
        started = difference(asked["by_kind"], before)
        peak = max(
            (n for k, n in asked["by_second"].items() if k.startswith(_OPERATOR) and int(k.split()[1]) >= began),
            default=0,
        )
        began, looks = time.time(), operator.reconciles()
        used = operator.processor_seconds()
        time.sleep(seconds)
        spent, passed = operator.processor_seconds() - used, time.time() - began
        made = difference(cluster.ask("requests")["by_kind"], asked["by_kind"])
        now, most = operator.megabytes()
        after = operator.reconciles()
        change = cluster.ask("rerun", number=0, reason=f"at rest {began}")["seconds"]
        return {
            "restart to quiet, s": quiet,
            "restart, processor seconds": started_with,
            "restart writes": writes(started),
            "restart reads": {k: v for k, v in sorted(started.items()) if k.split()[1] in {"GET", "LIST"}},
            "restart peak requests/s": peak,
            "rest CPU, %": 100 * spent / passed,
            "rest writes": writes(made),
            "rest requests/s": sum(of_the_operator(made).values()) / passed,
            "rest requests": of_the_operator(made),
            "rest reconciles/s": (after[-1][1] - looks[-1][1]) / passed if after else None,
            "memory, MB": now,
            "memory peak, MB": most,
            "change at rest acted on, s": change,
        }
    finally:
        operator.stop()


def restart(cluster: Cluster, folder: Path, models: int) -> dict[str, Any]:
    """Restart the operator, and change one model as soon as it looks at all the others."""
    before = writes(cluster.ask("requests")["by_kind"])
    began = time.time()
    operator = Operator(folder)
    try:
        operator.until_up()
        while not (found := operator.reconciles()) or found[-1][1] < 50:
            time.sleep(0.02)
        at = time.time() - began
        change = cluster.ask("rerun", number=1, reason=f"restart {began}")["seconds"]
        quiet = until_quiet(cluster, operator, began, models)
        after = writes(cluster.ask("requests")["by_kind"])
        return {
            "first looks, s": at,
            "change while all resync acted on, s": change,
            "restart to quiet, s": quiet,
            "writes": difference(after, before),
        }
    finally:
        operator.stop()


def awake(cluster: Cluster, folder: Path, seconds: float, models: int, namespaces: int) -> dict[str, Any]:
    """Give a request each second to one model, then to all of its namespace, and look at what their looks take."""
    operator = Operator(folder)
    try:
        until_quiet(cluster, operator, time.time(), models)
        found: dict[str, Any] = {}
        of_one = range(0, models, namespaces)
        for name, numbers in (("one", of_one[:1]), (f"all {len(of_one)} of a namespace", of_one)):
            cluster.ask("busy", numbers=list(numbers))
            time.sleep(5)
            looks, used = operator.reconciles(), operator.processor_seconds()
            time.sleep(seconds)
            spent, after = operator.processor_seconds() - used, operator.reconciles()
            made = after[-1][1] - looks[-1][1]
            found[name] = {
                "looks/s": made / seconds,
                "CPU, %": 100 * spent / seconds,
                "processor time of a look, ms": 1000 * spent / max(1, made),
                "look p50, ms": 1000 * (quantile(looks, after, 0.5) or 0),
                "look p99, ms": 1000 * (quantile(looks, after, 0.99) or 0),
            }
        cluster.ask("busy", numbers=[])
        return found
    finally:
        operator.stop()


def peers(folder: Path, namespaces: int, seconds: float) -> dict[str, Any]:
    """Look at what Kopf as it comes, and bare watches, cost on a copy of the same objects.

    Kopf handles each model once, as its users would: created, so the status is written. Then it starts again, over
    models that it handled. Both end once every object was seen.
    """
    copy = folder.with_name(f"{folder.name}-peers")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    found: dict[str, Any] = {}
    with cluster(copy, namespaces) as made:
        objects = made.ask("state")["objects"]
        for name, peer in (("kopf", "kopf"), ("kopf again", "kopf"), ("watch", "watch")):
            began = time.time()
            before = made.ask("requests")["by_kind"]
            seen = copy / f"{name}.seen"
            command = [sys.executable, str(HERE / "peer.py"), peer, str(seen), json.dumps(objects)]
            process = Watched(command, copy / "peers.log", {"KUBECONFIG": str(copy / "kubeconfig")})
            try:
                while not seen.exists() or (peer == "kopf" and made.ask("handled")["models"] < objects[_MODELS]):
                    time.sleep(0.5)
                all_seen, used = time.time(), process.processor_seconds()
                time.sleep(10)  # what it does on its own once it has everything is not its rest
                rest_used, since = process.processor_seconds(), time.time()
                time.sleep(seconds)
                spent = (process.processor_seconds() - rest_used) / (time.time() - since)
                now, peak = process.megabytes()
                found[name] = {
                    "objects": json.loads(seen.read_text()),
                    "start, s": all_seen - began,
                    "start, processor seconds": used,
                    "writes": writes(difference(made.ask("requests")["by_kind"], before), _WATCHER),
                    "rest CPU, %": 100 * spent,
                    "memory, MB": now,
                    "memory peak, MB": peak,
                }
                print(json.dumps({name: found[name]}), flush=True)
            finally:
                process.stop()
    return found


PARTS: dict[str, Callable[[Cluster, argparse.Namespace], dict[str, Any]]] = {
    "life": lambda made, o: life(made, o.folder, o.models, o.rate, o.within),
    "rest": lambda made, o: rest(made, o.folder, o.rest, o.models),
    "restart": lambda made, o: restart(made, o.folder, o.models),
    "awake": lambda made, o: awake(made, o.folder, o.rest, o.models, o.namespaces),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--namespaces", type=int, default=50)
    parser.add_argument("--rate", type=float, default=1000.0, help="models created per second, at most")
    parser.add_argument("--within", type=float, default=1200.0, help="seconds after which a piece of a life ends")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds of rest that are measured")
    parser.add_argument("--folder", type=Path, required=True, help="the cluster's state, kept between pieces")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("parts", nargs="*", default=[*PARTS, "peers"])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        if part == "peers":
            found = peers(options.folder, options.namespaces, options.rest)
        else:
            with cluster(options.folder, options.namespaces) as made:
                found = PARTS[part](made, options)
        line = json.dumps({"part": part, "models": options.models, **found})
        print(line, flush=True)
        with options.results.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()

"""How HAProxy counts its answers by revision and time, and what it says of that. Pure.

HAProxy has no histograms. A stick table counts instead: its keys are `<revision>/<bucket>/<status class>`, the
revision comes from the server's name, and a map of ranges turns microseconds into buckets. That costs a request a few
microseconds, needs nobody to look on, and lives as long as the worker does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from trimtab.api.gateway import BUCKETS, RevisionStats, bucket_bound_ms

BUCKETS_FILE = "buckets.map"
TABLE = "answers"

# A revision and a status class use some 15 keys of 200 bytes; those that nobody uses any more go after a week.
BACKEND = f"""\
backend {TABLE}
    stick-table type string len 96 size 50k expire 7d store gpc0
"""

REQUEST_RULES = "    http-request set-var(txn.start) date(0,us)\n"
# No client chooses a key: the revision is a part of a server's name, which its pod does not choose either.
RESPONSE_RULES = f"""\
    http-response set-var(txn.bucket) date(0,us),sub(txn.start),map_int({BUCKETS_FILE},{BUCKETS - 1})
    http-response set-var(txn.class) status,div(100)
    # UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS: what is 5xx over HTTP.
    http-response set-var(txn.class) int(5) if {{ res.hdr(grpc-status) -m str 2 4 13 14 15 }}
    http-response track-sc0 srv_name,field(2,_),concat(/,txn.bucket),concat(/,txn.class) table {TABLE}
    http-response sc-inc-gpc0(0)
"""

_ENTRY = re.compile(r"key=(\S+)/(\d+)/(\d) .*\bgpc0=(\d+)")


def buckets_text() -> str:
    """Return the map's file: `<from>:<to> <bucket>`, in microseconds."""
    lines, low = [], 0
    for bucket in range(BUCKETS - 1):
        high = int(1000 * bucket_bound_ms(bucket))
        lines.append(f"{low}:{high} {bucket}\n")
        low = high + 1
    return "".join(lines)


def answers(table: str) -> dict[str, RevisionStats]:
    """Parse the answer to `show table`: what each revision answered."""
    requests, errors = Counter[str](), Counter[str]()
    latencies: dict[str, Counter[int]] = {}
    for match in _ENTRY.finditer(table):
        revision, bucket, kind, count = match.group(1), int(match.group(2)), match.group(3), int(match.group(4))
        requests[revision] += count
        if kind == "5":  # a failure is quick, and no excuse for the others
            errors[revision] += count
        else:
            latencies.setdefault(revision, Counter())[bucket] += count
    return {
        name: RevisionStats(requests=count, errors=errors[name], latencies=dict(latencies.get(name, {})))
        for name, count in requests.items()
    }


def with_failures(
    answered: Mapping[str, RevisionStats], failures: Mapping[str, int], revisions: Iterable[str]
) -> dict[str, RevisionStats]:
    """Return the whole of what `revisions` were given: answers, and attempts that never became one."""
    found = {}
    for revision in revisions:
        stats, failed = answered.get(revision, RevisionStats()), failures.get(revision, 0)
        found[revision] = stats.model_copy(
            update={"requests": stats.requests + failed, "errors": stats.errors + failed}
        )
    return found

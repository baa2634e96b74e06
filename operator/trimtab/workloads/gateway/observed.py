"""What HAProxy says of itself: `show stat` and `show map`, parsed. Pure.

Measured with 2.6.12 and 2.8.25: a backend's `scur` counts its queued requests too, `qcur` counts them alone, and
a server's `scur` is what it works on. So requests at replicas are the sum over the servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trimtab.workloads.gateway.slots import profile_of

# The map's key that says that there are models at all; no model's name has a `*`.
ANY_MODEL = "*"


_COLUMNS = (
    *("pxname", "svname", "qcur", "scur", "slim", "econ", "eresp", "wretr", "wredis", "status", "weight"),
    *("check_status", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"),
    *("req_tot", "qtime", "ttime"),
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server of a slot; counters since HAProxy started or the server was added."""

    weight: int
    limit: int
    """Requests at once at most; 0 for no limit."""
    status: str
    check: str
    """Result of the last check: L7OK, L4CON, …; INI before the first."""
    in_flight: int = 0
    queued: int = 0
    failures: int = 0
    """Attempts that it did not answer: refused, broken off, or sent again elsewhere."""

    @property
    def in_maintenance(self) -> bool:
        return self.status.startswith("MAINT")

    @property
    def up(self) -> bool:
        return self.status.startswith("UP")

    @property
    def checked(self) -> bool:
        return self.check.lstrip("* ") not in {"", "INI", "SOCKERR"}

    @property
    def idle(self) -> bool:
        return self.in_flight == 0 and self.queued == 0


@dataclass(frozen=True, slots=True)
class Slot:
    """A backend and its servers by name (their address); counters since HAProxy started."""

    servers: Mapping[str, Server] = field(default_factory=dict)
    sessions: int = 0
    """In flight and queued."""
    queued: int = 0
    requests: int = 0
    responses: Mapping[str, int] = field(default_factory=dict)
    """By class: 2xx, 4xx, 5xx, …; other for clients that left before."""
    retries: int = 0
    redispatches: int = 0
    queue_ms: int = 0
    total_ms: int = 0

    @property
    def in_flight(self) -> int:
        return sum(server.in_flight for server in self.servers.values())

    @property
    def empty(self) -> bool:
        return not self.servers and self.sessions == 0


@dataclass(frozen=True, slots=True)
class Observed:
    """The running HAProxy."""

    slots: Mapping[str, Slot]
    routes: Mapping[str, str]
    """Model to slot, and `ANY_MODEL` while there are models."""

    def free(self) -> list[str]:
        """Return the slots that no model has, first those whose counters are still 0."""
        taken = frozenset(self.routes.values())
        names = (name for name, slot in self.slots.items() if slot.empty and name not in taken)
        return sorted(names, key=lambda name: (self.slots[name].requests > 0, name))


def observed(stat: str, routes: str) -> Observed:
    """Parse the answers to `show stat` and `show map`."""
    backends: dict[str, Mapping[str, str]] = {}
    servers: dict[str, dict[str, Server]] = {}
    for row in _rows(stat):
        slot, name = row["pxname"], row["svname"]
        if profile_of(slot) is None:
            continue
        if name == "BACKEND":
            backends[slot] = row
        else:
            servers.setdefault(slot, {})[name] = _server(row)
    slots = {slot: _slot(row, servers.get(slot, {})) for slot, row in backends.items()}
    return Observed(slots, dict(parse_map(routes, keys_first=False)))


def parse_map(text: str, *, keys_first: bool = True) -> list[tuple[str, str]]:
    """Return a map's (key, value) pairs, from its file or (`keys_first=False`) from `show map`."""
    lines = (line.split() for line in text.splitlines())
    offset = 0 if keys_first else 1
    return [(line[offset], line[offset + 1]) for line in lines if len(line) == offset + 2]


def _rows(stat: str) -> Iterator[dict[str, str]]:
    """Yield the rows with the columns that are looked at.

    A gateway with 1,000 models has thousands of rows of 90 columns, and no field of these has a comma or a quote.
    """
    lines = stat.lstrip("# ").splitlines()
    if not lines:
        return
    header = lines[0].split(",")
    columns = [(name, header.index(name)) for name in _COLUMNS if name in header]
    last = max(place for _, place in columns) + 1
    for line in lines[1:]:
        if line:
            fields = line.split(",", last)
            yield {name: fields[place] for name, place in columns}


def _server(row: Mapping[str, str]) -> Server:
    return Server(
        weight=_number(row, "weight"),
        limit=_number(row, "slim"),
        status=row["status"],
        check=row["check_status"],
        in_flight=_number(row, "scur"),
        queued=_number(row, "qcur"),
        # One attempt counts in several of these; in which differs between 2.6 and 2.8.
        failures=max(_number(row, "wretr"), _number(row, "wredis"), _number(row, "econ") + _number(row, "eresp")),
    )


def _slot(row: Mapping[str, str], servers: Mapping[str, Server]) -> Slot:
    return Slot(
        servers=servers,
        sessions=_number(row, "scur"),
        queued=_number(row, "qcur") + sum(server.queued for server in servers.values()),
        requests=_number(row, "req_tot"),
        responses={kind: _number(row, f"hrsp_{kind}") for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other")},
        retries=_number(row, "wretr"),
        redispatches=_number(row, "wredis"),
        queue_ms=_number(row, "qtime"),
        total_ms=_number(row, "ttime"),
    )


def _number(row: Mapping[str, str], column: str) -> int:
    """Return a column as a number; HAProxy leaves out what does not apply."""
    return int(row.get(column) or 0)

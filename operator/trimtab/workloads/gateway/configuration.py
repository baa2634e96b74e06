"""HAProxy's configuration and map as text: what a HAProxy that starts now comes up with. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trimtab.api.names import GATEWAY_TLS_PORT
from trimtab.planning.traffic import GRPC, HOLD_SERVER, ModelTraffic, route_of
from trimtab.workloads.gateway import latency
from trimtab.workloads.gateway.difference import DEFAULT_LIMIT, MAP_FILE, routes_of, server_definition
from trimtab.workloads.gateway.observed import ANY_MODEL
from trimtab.workloads.gateway.slots import profile_of

# Relative to the shared directory, in which HAProxy runs: a socket's path may have 107 bytes at most.
CONFIG_FILE = "haproxy.cfg"
ADMIN_SOCKET = "admin.sock"
MASTER_SOCKET = "master.sock"

RETRY_HEADER = "Trimtab-Retry"
READY_PATH = "/gateway/ready"

# fd-hard-limit instead of maxconn: HAProxy derives maxconn from the smaller of it and `ulimit -n`, whereas a maxconn
# above the limit passes `-c` and then fails at start. 8,192 are about 4,000 connections, at most 1 GiB of buffers.
# At a reload a busy client's connection ends with an answer that says so; idle ones are closed in the next 5 s, not
# all in the very moment in which some client is about to use its own.
# A request body up to bufsize can be sent again to another replica.
_GLOBAL = f"""\
global
    stats socket unix@{ADMIN_SOCKET} mode 600 level admin expose-fd listeners
    fd-hard-limit 8192
    nbthread 1
    hard-stop-after 5m
    close-spread-time 5s
    tune.bufsize 131072
    log stderr format short daemon warning
"""

# The key of tls.crt is tls.key beside it, as in a Secret; without the second line it would be tls.crt.key.
_GLOBAL_WITH_TLS = f"""\
{_GLOBAL}\
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-load-extra-del-ext
"""

# srvtcpka: a node that vanishes closes nothing; probes find out in 8 s, and the request is sent again elsewhere.
# An inference can be repeated, so every failure before the answer's first byte may be retried. 503 from a replica
# means overloaded or draining: another one may be neither.
_DEFAULTS = """\
defaults
    mode http
    log global
    timeout connect 1s
    timeout client 75s
    timeout server 60s
    timeout queue 30s
    timeout check 2s
    timeout http-request 30s
    timeout http-keep-alive 75s
    option http-buffer-request
    option http-no-delay
    option forwardfor
    option abortonclose
    option redispatch 1
    option srvtcpka
    srvtcpka-idle 5s
    srvtcpka-intvl 1s
    srvtcpka-cnt 3
    retry-on conn-failure empty-response response-timeout 503
    http-reuse always
"""

_JSON = "content-type application/json"
_AGAIN = "hdr Retry-After 1"
_ERRORS = {
    400: "the request is no valid HTTP",
    408: "the request did not arrive in time",
    413: "the request is too large",
    500: "the gateway failed; its log says why",
    502: "the replica broke off before it answered",
    503: "no replica can take the request now: none is ready, or all stayed busy for 30 s",
    504: "the replica did not answer within 60 s",
}


# A queue is for bursts and for a model's first replica; longer than this it only makes answers late.
_WAITING = 1000
_FULL = f"{_WAITING} requests wait for a replica already"
# A replica that dies may take several attempts of one request: by a connection that broke, by an idle one of which
# HAProxy does not know it yet, and by its place that is free again. Measured, 1 request in 50,000 needed a fourth.
_ON_THE_DYING = 2


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the gateway takes requests, for which namespace, and how many of it there are."""

    host: str
    port: int
    namespace: str
    gateways: int = 1
    """Pods of this gateway, all of which send requests to the same replicas."""
    tls_port: int = GATEWAY_TLS_PORT
    certificates: Path | None = None
    """The folder in which a certificate for that port may lie."""

    @property
    def bind(self) -> str:
        return self._at(self.port)

    def secured(self, certificate: Path) -> str:
        """Return the line for TLS. HTTP/2 has to be offered in its handshake: gRPC speaks nothing else."""
        return f"    bind {self._at(self.tls_port)} ssl crt {certificate} alpn h2,http/1.1\n"

    def _at(self, port: int) -> str:
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


def map_text(slots: Mapping[str, str]) -> str:
    """Return the file that says which model goes to which slot."""
    return "".join(f"{key} {value}\n" for key, value in sorted(routes_of(slots).items()))


class Backends:
    """Backends as text, each made anew only when it is another: of 1,000 models one changes at a time."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ModelTraffic | None, tuple[int, ...], str]] = {}

    def text(self, slot: str, item: ModelTraffic | None, limits: Mapping[str, int]) -> str:
        """Return a slot's backend with the servers of the model that has it."""
        numbers = tuple(limits.get(e.address, DEFAULT_LIMIT) for e in item.endpoints) if item else ()
        known = self._known.get(slot)
        if known is None or known[:2] != (item, numbers):
            known = self._known[slot] = (item, numbers, _backend(slot, item, numbers))
        return known[2]


def configuration(
    listener: Listener,
    traffic: Iterable[ModelTraffic],
    slots: Mapping[str, str],
    prepared: Iterable[str],
    limits: Mapping[str, int],
    backends: Backends,
    certificate: Path | None = None,
) -> str:
    """Return the configuration: every prepared slot, with the servers of the model that has it.

    `slots` is route → slot, `limits` address → requests that the replica takes at once. Endpoints that get no new
    requests are left out: a HAProxy that starts has none of their old ones. `backends` remembers what did not change.
    With a `certificate` it listens for TLS, too.
    """
    by_slot = {slots[item.route]: item for item in traffic if item.route in slots}
    names = sorted(prepared)
    texts = (backends.text(slot, by_slot.get(slot), limits) for slot in names)
    headers = sorted({profile.header for name in names if (profile := profile_of(name)) and profile.header})
    frontend = _frontend(listener, headers, certificate)
    everywhere = _GLOBAL_WITH_TLS if certificate else _GLOBAL
    return "\n".join([everywhere, _DEFAULTS + _errors(), latency.BACKEND, frontend, *texts])


def _errors() -> str:
    """Return HAProxy's own answers as error objects of the Open Inference Protocol."""
    lines = []
    for status, message in _ERRORS.items():
        again = " hdr Retry-After 1" if status == 503 else ""
        lines.append(
            f'    http-error status {status} content-type application/json string "{_error(message)}"{again}\n'
        )
    return "".join(lines)


def _error(message: str) -> str:
    """Return an error object, quoted for HAProxy."""
    return rf"{{\"error\":\"{message}\"}}"


def _answer(code: int, message: str) -> str:
    """Return an answer of gRPC without a message: a status and why."""
    return f'hdr grpc-status {code} hdr grpc-message "{message}"'


def _frontend(listener: Listener, headers: Iterable[str], certificate: Path | None) -> str:
    secured = listener.secured(certificate) if certificate else ""
    local = rf"^[^.]+(\.{re.escape(listener.namespace)}(\..*)?)?$"
    lookup = f"map_str({MAP_FILE})"
    sessions = "".join(_session_rules(header, lookup) for header in headers)
    calls = f"var(txn.model),concat({route_of('', GRPC)}),{lookup}"
    unknown = _error("no model %[var(txn.model),json(utf8s)] here")
    unnamed = _error("no model named; use /v2/models/<model>/infer")
    return rf"""
frontend traffic
    bind {listener.bind}
{secured}    http-request return status 200 content-type text/plain string ready if {{ path {READY_PATH} }}
{latency.REQUEST_RULES.rstrip()}
    # What was never sent may always be; what a replica may have begun is the caller's to decide.
    http-request disable-l7-retry if {{ req.hdr({RETRY_HEADER}) -m str -i never }}
    # The path names the model; where it does not, the host does: <model> or <model>.<namespace>[.…]
    http-request set-var(txn.host) req.hdr(host),field(1,:),lower
    http-request set-var(txn.model) var(txn.host),field(1,.) if {{ var(txn.host) -m reg {local} }}
    http-request set-var(txn.model) path,field(4,/) if {{ path_beg /v2/models/ }}
    # A call over gRPC names its model in its body, and its authority has to.
    acl grpc req.hdr(content-type) -m beg application/grpc
    http-request set-var(txn.slot) var(txn.model),{lookup} if !grpc
    http-request set-var(txn.slot) {calls} if grpc
{sessions}    acl any_model str({ANY_MODEL}),{lookup} -m found
    acl known var(txn.slot) -m found
    acl named var(txn.model) -m found
    http-request return status 200 {_answer(14, "no models here yet")} if grpc !any_model
    http-request return status 200 {_answer(5, "no model %[var(txn.model)] with serving.grpc here")} if grpc !known
    http-request return status 503 {_JSON} string "{_error("no models here yet")}" {_AGAIN} if !any_model
    http-request return status 404 {_JSON} lf-string "{unknown}" if !known named
    http-request return status 404 {_JSON} string "{unnamed}" if !known
{latency.RESPONSE_RULES.rstrip()}
    # An answer of ours without a body cannot say its type otherwise.
    http-after-response set-header content-type application/grpc if {{ res.hdr(grpc-status) -m found }}
    http-response set-status 503 if {{ status 504 }} {{ srv_name {HOLD_SERVER} }}
    use_backend %[var(txn.slot)]
""".lstrip()


def _session_rules(header: str, lookup: str) -> str:
    """Return what sends requests with a header to the model's slot for such requests, if it has one."""
    return (
        f"    http-request set-var(txn.session) var(txn.model),concat({route_of('', header)}),{lookup} "
        f"if !grpc {{ req.hdr({header}) -m len gt 0 }}\n"
        "    http-request set-var(txn.slot) var(txn.session) if { var(txn.session) -m found }\n"
    )


def _backend(slot: str, item: ModelTraffic | None, limits: tuple[int, ...]) -> str:
    profile = profile_of(slot)
    if profile is None:
        raise ValueError(f"{slot!r} is no slot")
    retries = profile.retries + _ON_THE_DYING if profile.retries else 0
    lines = [
        f"backend {slot}",
        *(f"    {line}" for line in profile.balance),
        f"    retries {retries}",
        "    option httpchk GET /v2/health/ready",
        f'    http-request return status 503 {_JSON} string "{_error(_FULL)}" {_AGAIN} if {{ queue ge {_WAITING} }}',
    ]
    for endpoint, limit in zip(item.endpoints if item else (), limits, strict=True):
        if endpoint.admitted:
            lines.append(f"    server {endpoint.server} {server_definition(endpoint, limit)}")
    return "\n".join([*lines, ""])

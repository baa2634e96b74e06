"""Which hosts a store may be asked at."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

# Where clouds give out a machine's own credentials, beside all of link-local (AWS, Google, Azure: 169.254.169.254).
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200")))


def _addresses(host: str) -> Iterable[str]:
    return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}


def allowed_endpoint(endpoint: str, addresses: Callable[[str], Iterable[str]] = _addresses) -> str:
    """Return a store's endpoint when it may be asked.

    Whoever writes a Secret names the endpoint, and the pod that asks it stands on a node whose metadata service trusts
    that pod: so nothing is fetched from there, by address or by a name that leads there. A host that cannot be looked
    up now is left to the client, which tells of it. Names may lead elsewhere a moment later: where that matters, a
    NetworkPolicy has to hold.

    Raises:
        Stalled: InvalidSpec, naming the variable and the address.
    """
    host = urlsplit(endpoint).hostname
    if host is None or urlsplit(endpoint).scheme not in {"http", "https"}:
        raise Stalled(
            Reason.INVALID_SPEC, f"AWS_ENDPOINT_URL: {endpoint!r} is no URL; write it like https://s3.example.com"
        )
    try:
        found = sorted(addresses(host))
    except OSError:
        return endpoint
    for text in found:
        address = ipaddress.ip_address(text.partition("%")[0])
        real = getattr(address, "ipv4_mapped", None) or address
        if real.is_link_local or real in _METADATA:
            raise Stalled(
                Reason.INVALID_SPEC,
                f"AWS_ENDPOINT_URL: {host} is {text}, a link-local or metadata address, which no store has; name the "
                "store's own host",
            )
    return endpoint

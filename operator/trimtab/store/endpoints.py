"""Which hosts a store may be asked at."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

# Where clouds give out a machine's own credentials, beside all of link-local (AWS, Google, Azure: 169.254.169.254):
# AWS over IPv6, Google over IPv6, Alibaba, and Azure's host.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16"),
    )
)
# IPv6 addresses whose last 32 bits are an IPv4 address: compatible (RFC 4291), and NAT64, which clusters that speak
# IPv6 only have (RFC 6052, RFC 8215).
_CARRIERS = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")))
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


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
        leads_to = _reached(ipaddress.ip_address(text.partition("%")[0]))
        if any(address.is_link_local or address in _METADATA for address in leads_to):
            raise Stalled(
                Reason.INVALID_SPEC,
                f"AWS_ENDPOINT_URL: {host} is {text}, a link-local or metadata address, which no store has; name the "
                "store's own host",
            )
    return endpoint


def _reached(address: _Address) -> Iterator[_Address]:
    """Yield an address, and the IPv4 address that a router or the kernel makes of it."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _CARRIERS):
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
            if inner is not None:
                yield inner

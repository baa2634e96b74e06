"""The addresses of Services: handed out once, taken back on deletion."""

import ipaddress


class ServiceRange:
    """Hands out addresses of one IPv4 network; the network's own and its broadcast address stay free."""

    def __init__(self, network: str) -> None:
        self._network = ipaddress.IPv4Network(network)
        self._taken: set[ipaddress.IPv4Address] = set()
        self._next = 1

    def allocate(self, wanted: str | None = None) -> str:
        """Reserve an address.

        Raises:
            ValueError: `wanted` cannot be had, or nothing is left; the text says which.
        """
        if wanted is not None:
            return self._reserve(wanted)
        usable = self._network.num_addresses - 2
        for offset in range(usable):
            index = (self._next + offset - 1) % usable + 1
            address = self._network[index]
            if address not in self._taken:
                self._next = index + 1
                self._taken.add(address)
                return str(address)
        raise ValueError(f"no free address is left in {self._network}; delete a Service or widen the range")

    def _reserve(self, wanted: str) -> str:
        address = ipaddress.IPv4Address(wanted)
        if address not in self._network:
            raise ValueError(
                f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {self._network}"
            )
        if address in self._taken:
            raise ValueError("provided IP is already allocated")
        self._taken.add(address)
        return wanted

    def release(self, address: str) -> None:
        """Take an address back; what is not an address of the range is ignored."""
        try:
            self._taken.discard(ipaddress.IPv4Address(address))
        except ValueError:
            return

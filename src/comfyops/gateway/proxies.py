"""Pure: whose X-Forwarded headers count."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from comfyops.errors import UsageError

_MAPPED = "::ffff:"
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """Addresses and networks; `in` says whether an address is one of them."""

    def __init__(self, addresses: frozenset[str] = frozenset(), networks: tuple[_Network, ...] = ()) -> None:
        self._addresses = addresses
        self._networks = networks

    @classmethod
    def of(cls, texts: Iterable[str]) -> Proxies:
        """From what a person wrote, such as 10.0.0.2 and 172.16.0.0/12. Raises UsageError."""
        addresses, networks = set(), []
        for text in texts:
            try:
                if "/" in text:
                    networks.append(ipaddress.ip_network(text))
                else:
                    addresses.add(_unmapped(str(ipaddress.ip_address(text))))
            except ValueError as error:
                hint = "Give one such as 10.0.0.2 or 172.16.0.0/12."
                raise UsageError(f"{text[:60]!r} is no address and no network of a proxy.", hint=hint) from error
        return cls(frozenset(addresses), tuple(networks))

    def __contains__(self, address: object) -> bool:
        if isinstance(address, str) and address.startswith(_MAPPED):  # by a socket for both, as of --host ::
            address = _unmapped(address)
        return address in self._addresses or (bool(self._networks) and _within(address, self._networks))


def _unmapped(address: str) -> str:
    """The IPv4 address in an IPv6 one; the text itself where there is none."""
    try:
        found = ipaddress.IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return str(found) if found is not None else address


@lru_cache(maxsize=4096)
def _within(address: object, networks: tuple[_Network, ...]) -> bool:
    try:
        found = ipaddress.ip_address(str(address))
    except ValueError:
        return False
    return any(found in network for network in networks)

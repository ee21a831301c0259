"""IP addresses: which lie in the public network."""

from __future__ import annotations

import ipaddress

_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
"""IPv6 that ends in the IPv4 address which is meant: of networks without IPv4 (NAT64), and old forms."""

_OWN = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "fec0::/10")))
"""IPv6 of a site's own: its translation to IPv4, and what once was its private network."""


def is_public(address: str) -> bool:
    """Whether an IP address lies in the public network; where it wraps another one, that one counts too.

    Raises ValueError for what is no address.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if any(found in network for network in _OWN):
            return False
        inner = _inside(found)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return found.is_global and not found.is_multicast


def _inside(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if any(address in network for network in _TRANSLATED):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)

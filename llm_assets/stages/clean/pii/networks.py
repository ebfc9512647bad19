"""Which IP addresses are a machine's on the public Internet.

Guarantees an answer that does not depend on the version of Python: the special-purpose ranges are listed here, as
of 2026, from IANA's "IPv4 and IPv6 Special-Purpose Address Registries" (RFC 6890 and its successors).
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

_SPECIAL_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared, carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_SPECIAL_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "::/8",  # unspecified, loopback, mapped and translated IPv4
        "64:ff9b::/96",  # translated IPv4
        "64:ff9b:1::/48",  # translated IPv4, local
        "100::/64",  # discard
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique local
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, deprecated
        "ff00::/8",  # multicast
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")


def is_public_v4(text: str) -> bool:
    """Whether it is an IPv4 address in dotted decimal, outside every special-purpose range."""
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return False
    return not any(address in network for network in _SPECIAL_V4)


def is_public_v6(text: str) -> bool:
    """Whether it is an IPv6 address outside every special-purpose range.

    An abbreviated one ("::") must also lie in 2000::/3, all that is assigned so far: `ad::be` is rather a name in
    some code. Eight groups are an address wherever it lies.
    """
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return False
    if any(address in network for network in _SPECIAL_V6):
        return False
    return "::" not in text or address in _GLOBAL_UNICAST

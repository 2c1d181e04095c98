"""Which network addresses may be asked: public ones, and the private networks that a dataset declares."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from assets.vision.errors import FetchError

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

# Blocks that carry an IPv4 address inside an IPv6 one: what counts is the address inside.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
# Not refused by `is_global` of every supported Python.
_NEVER: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "100::/64",
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
        "fec0::/10", "ff00::/8",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides on addresses; `networks` are private networks that are allowed, never link-local ones."""

    networks: tuple[Network, ...] = ()

    @staticmethod
    def of(networks: Sequence[str]) -> Gate:
        """Take networks as text."""
        return Gate(tuple(ipaddress.ip_network(text) for text in networks))

    def allows(self, address: Address) -> bool:
        """Whether a connection to this address may be made."""
        inner = _inner(address)
        if inner.is_link_local or inner.is_multicast or inner.is_unspecified:
            return False
        if any(inner.version == network.version and inner in network for network in self.networks):
            return True
        if _never(inner) or not inner.is_global:
            return False
        return inner is address or not _never(address)

    def resolve(self, host: str, port: int) -> list[str]:
        """Addresses of a host; every one of them must be allowed, so that no answer can be picked from a mix.

        Raises
        ------
        FetchError
            `refused` for an address that is not allowed, `fetch_failed` when the name has none.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError):
            raise FetchError("fetch_failed", expected="a host with an address", got="none") from None
        addresses = list(dict.fromkeys(str(answer[4][0]) for answer in found))
        for text in addresses:
            if "%" in text or not self.allows(ipaddress.ip_address(text)):
                raise FetchError("refused", expected="a public address", got="a private or special one")
        return addresses


def _inner(address: Address) -> Address:
    """The address that is reached in the end, where an IPv6 address carries an IPv4 one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64 or address in _NAT64_LOCAL or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _never(address: Address) -> bool:
    return any(address.version == network.version and address in network for network in _NEVER)

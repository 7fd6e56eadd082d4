"""Rules for the destinations of clients that choose their own: what is allowed, what is denied.

A rule is a network (`10.0.0.0/8`), an address, a host name (`seed.example.com`), a domain with all
its subdomains (`.example.com`), or a named range (`private`, `loopback`).
"""

from __future__ import annotations

import re
import socket
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

import msgspec
from twisted.internet.error import ConnectError

__all__ = ["RANGES", "Destinations", "NotAllowed", "Rule"]

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

RANGES = {
    # A connection to an unspecified address reaches this machine, too.
    "loopback": ("127.0.0.0/8", "::1/128", "0.0.0.0/8", "::/128"),
    "private": (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
        *("fc00::/7", "fe80::/10"),
    ),
}
"""Ranges of addresses by name: RFC 1918, 6598, 3927, 4193, 4291."""
NAT64, MAPPED = IPv6Network("64:ff9b::/96"), IPv6Network("::ffff:0:0/96")
"""IPv6 addresses that contain an IPv4 address: RFC 6052 and RFC 4291."""
INET_ATON_FORM = re.compile(r"(?:0x)?[0-9a-f]+(?:\.(?:0x)?[0-9a-f]+){0,3}", re.IGNORECASE)
"""What may be an IPv4 address in one of the forms that only `inet_aton` accepts."""
NAME = re.compile(r"(?:\*?\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.IGNORECASE)


class NotAllowed(ConnectError):
    """The rules do not allow this destination."""

    def __init__(self, reason: str) -> None:
        super().__init__(string=reason)  # type: ignore[no-untyped-call]


class Rule(msgspec.Struct, frozen=True):
    """One rule; either `networks` or `name` is set."""

    networks: tuple[Network, ...] = ()
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Parse a rule; raises ValueError, which says what is expected."""
        if (named := text.lower()) in RANGES:
            return cls(tuple(map(ip_network, RANGES[named])))
        try:
            return cls((_unmapped_network(ip_network(text.strip("[]"))),))
        except ValueError as error:
            if "/" in text or ":" in text or not text.strip("0123456789."):
                raise ValueError(f"{text!r} is not a network: {error}") from None
        if not NAME.fullmatch(text):
            names = ", ".join(RANGES)
            raise ValueError(f"{text!r} is not a network, a host name, .DOMAIN, or one of {names}")
        return cls(name=_plain_name(text.removeprefix("*")))

    def has_name(self, name: str) -> bool:
        """Whether the rule matches a host name."""
        if self.name.startswith("."):
            return name.endswith(self.name) or name == self.name[1:]
        return bool(self.name) and name == self.name

    def has_address(self, address: Address) -> bool:
        """Whether the rule matches an address."""
        return any(address in network for network in self.networks)


class Destinations(msgspec.Struct, frozen=True):
    """What is allowed and what is denied. Denial takes precedence; no `allow` rule allows all."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, allow: tuple[str, ...], deny: tuple[str, ...]) -> Destinations:
        """Parse rules; raises ValueError."""
        return cls(tuple(map(Rule.parse, allow)), tuple(map(Rule.parse, deny)))

    def __bool__(self) -> bool:
        return bool(self.allow or self.deny)

    def allows(self, host: str, *, resolves: bool = True) -> bool:
        """Return whether a host is allowed, as far as its name decides that.

        For an address the decision is final. A name that no rule matches may still be allowed by
        its addresses.

        Args:
            host: An address or a name.
            resolves: Whether the name is looked up here, so that its addresses can be checked.
        """
        address = _literal(host)
        if address is not None:
            return self.allows_address(address)
        name = _plain_name(host)
        if any(rule.has_name(name) for rule in self.deny):
            return False
        by_address = resolves and any(rule.networks for rule in self.allow)
        return by_address or not self.allow or self._allows_name(name)

    def allows_address(self, address: Address, name: str = "") -> bool:
        """Return whether an address is allowed; `name` is the name that resolved to it, if any."""
        address = _unmapped(address)
        if any(rule.has_address(address) for rule in self.deny):
            return False
        allowed = any(rule.has_address(address) for rule in self.allow)
        return not self.allow or allowed or self._allows_name(_plain_name(name))

    def _allows_name(self, name: str) -> bool:
        return any(rule.has_name(name) for rule in self.allow)


def _plain_name(name: str) -> str:
    """Return a name in the form in which names are compared."""
    return name.rstrip(".").lower()


def _literal(host: str) -> Address | None:
    """Return the address of a literal, also one as 127.1 or 0x7f000001; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    if not INET_ATON_FORM.fullmatch(host):
        return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _unmapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address contains, or the address itself."""
    if any(address in network for network in (MAPPED, NAT64)):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _unmapped_network(network: Network) -> Network:
    """Return the IPv4 network that an IPv6 network contains, or the network itself."""
    if isinstance(network, IPv6Network) and any(map(network.subnet_of, (MAPPED, NAT64))):
        first = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((first, network.prefixlen - MAPPED.prefixlen))
    return network

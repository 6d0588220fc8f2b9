"""The network an action may reach: `network_allowlist`, down to the addresses that are connected to.

1. A host is reached only where the list names it, whole and in its ASCII form, with or without the port.
2. A name is resolved once, here, and the connection goes to an address that was checked: whoever owns the
   name cannot answer differently a moment later (DNS rebinding). TLS still asks for the name.
3. Each address that the name has must be a public one, or be listed: one address that is not refuses the
   host. Loopback, private, shared, link-local, multicast and reserved addresses are not public, nor are those
   that carry one of them inside (IPv4-mapped, 6to4, Teredo, NAT64).
4. An address is listed by an entry that is that address, or by a range such as ``10.0.0.0/8``. A range says
   where listed names may lead; it names no host. ``localhost`` lists loopback. Where only listed addresses
   are permitted, that an address is public permits nothing.
5. Nothing here follows a redirect; connectors do not either.

Sources: RFC 6890 (special-purpose addresses), RFC 6761 (localhost), RFC 6052 (NAT64's prefix).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import httpx

from interlock.dispatch.limits import NotSent
from interlock.dispatch.template import AUTHORITY

BREACH = "network_allowlist"
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Range: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_ENDPOINT = re.compile(AUTHORITY)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Allowlist:
    """What a `network_allowlist` permits.

    Attributes:
        endpoints: host in ASCII and port; None is any port.
        ranges: addresses that a listed host may have although they are not public, and at which port.
        listed_only: whether a public address has to be in a range as well.
    """

    endpoints: frozenset[tuple[str, int | None]]
    ranges: tuple[tuple[Range, int | None], ...]
    listed_only: bool = False

    @classmethod
    def of(cls, entries: Iterable[str]) -> Allowlist:
        """What can be read of the entries; what cannot permits nothing."""
        endpoints: set[tuple[str, int | None]] = set()
        ranges: list[tuple[Range, int | None]] = []
        for entry in entries:
            if "/" in entry:
                found = _range(entry)
                if found is not None:
                    ranges.append((found, None))
                continue
            endpoint = _endpoint(entry)
            if endpoint is None:
                continue
            endpoints.add(endpoint)
            literal = _literal(endpoint[0])
            if literal is not None:
                ranges.append((ipaddress.ip_network(literal), endpoint[1]))
        return cls(frozenset(endpoints), tuple(ranges))

    def check_host(self, host: str, port: int) -> None:
        """Rule 1. Raises `NotSent`."""
        if not self.endpoints & {(host, None), (host, port)}:
            raise NotSent(f"the host {host}:{port} is not in the network allowlist", BREACH)

    def check_address(self, host: str, port: int, address: str) -> None:
        """Rules 3 and 4. Raises `NotSent`."""
        found = _literal(address)
        if found is None:
            raise NotSent(f"the host {host}:{port} leads to something that is no address", BREACH)
        if found.is_loopback and (host == "localhost" or host.endswith(".localhost")):
            return
        if _public(found) and not self.listed_only:
            return
        for listed, at in self.ranges:
            if at in (None, port) and found.version == listed.version and found in listed:
                return
        lacks = "in no listed network" if self.listed_only else "not public and not in the network allowlist"
        raise NotSent(f"the host {host}:{port} leads to an address that is {lacks}", BREACH)


async def addresses(host: str, port: int, allowlist: Allowlist, limit: float) -> tuple[str, ...]:
    """Where to connect, in the resolver's order; every one of them is permitted. The host is checked first.

    Args:
        limit: seconds that the resolver may take.

    Raises:
        NotSent: the host is not listed, has no address, or has one that is not permitted.
    """
    allowlist.check_host(host, port)
    try:
        async with asyncio.timeout(limit):
            found = await asyncio.get_running_loop().getaddrinfo(
                host.strip("[]"), port, type=socket.SOCK_STREAM
            )
    except (OSError, UnicodeError):
        raise NotSent(f"{host}:{port}: the name has no address") from None
    except TimeoutError:
        raise NotSent(f"{host}:{port}: no address within {limit:g} s") from None
    # A set would lose the resolver's order.
    where = tuple(dict.fromkeys(str(info[4][0]) for info in found))
    if not where:
        raise NotSent(f"{host}:{port}: the name has no address")
    for address in where:
        allowlist.check_address(host, port, address)
    return where


def _endpoint(entry: str) -> tuple[str, int | None] | None:
    """Host in its ASCII form and port of ``host`` or ``host:port``; None for what is neither."""
    if not _ENDPOINT.fullmatch(entry):
        return None
    try:
        # A scheme without a default port, so that ``host:443`` keeps the port it names.
        url = httpx.URL(f"endpoint://{entry}")
    except httpx.InvalidURL:
        return None
    return url.raw_host.decode("ascii"), url.port


def _range(entry: str) -> Range | None:
    try:
        return ipaddress.ip_network(entry.replace("[", "").replace("]", ""))
    except ValueError:
        return None


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped
        if inside is None and address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return _public(inside)
        if address.sixtofour is not None or address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved

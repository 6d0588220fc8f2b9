"""The network allowlist: names are compared whole, and what they lead to is looked at before connecting."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.dispatch.limits import NotSent
from interlock.dispatch.network import Allowlist, addresses
from interlock.model.errors import PolicyError
from interlock.policy import parse


def leads(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[str]:
    """Make every name lead to these addresses; the names that were asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int, *args: Any, **rest: Any) -> list[Any]:
        asked.append(host)
        if not found:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def where(host: str, *entries: str, port: int = 443) -> tuple[str, ...]:
    return asyncio.run(addresses(host, port, Allowlist.of(entries), 5.0))


NOT_PUBLIC = [
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_listed_name_that_leads_to_an_address_that_is_not_public_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads(monkeypatch, address)
    with pytest.raises(NotSent) as refused:
        where("api.example.com", "api.example.com")
    assert refused.value.breach == "network_allowlist"
    assert address not in refused.value.reason


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_listed_name_that_leads_to_a_public_address_is_reached_there(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads(monkeypatch, address)
    assert where("api.example.com", "api.example.com") == (address,)


def test_one_address_that_is_not_permitted_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    leads(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(NotSent):
        where("api.example.com", "api.example.com")
    leads(monkeypatch, "8.8.8.8", "8.8.4.4", "8.8.8.8")
    assert where("api.example.com", "api.example.com") == ("8.8.8.8", "8.8.4.4")


def test_a_name_that_is_not_listed_is_not_even_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = leads(monkeypatch, "8.8.8.8")
    for entries in ((), ("example.com",), ("api.example.com:80",), ("8.8.8.8",), ("0.0.0.0/0",), ("*",)):
        with pytest.raises(NotSent) as refused:
            where("api.example.com", *entries)
        assert refused.value.breach == "network_allowlist"
    assert asked == []


@pytest.mark.parametrize(
    ("entry", "permitted"),
    [
        ("10.0.0.0/8", True),
        ("10.1.2.3", True),
        ("10.1.2.3:443", True),
        ("10.1.2.3:80", False),
        ("10.1.2.4", False),
        ("10.1.2.0/24", True),
        ("10.2.0.0/16", False),
        ("[fd00::]/8", False),
        ("10.1.2.3/8", False),
        ("10.0.0.0/99", False),
    ],
)
def test_a_range_or_an_address_says_where_a_listed_name_may_lead(
    entry: str, permitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads(monkeypatch, "10.1.2.3")
    if permitted:
        assert where("db.internal", "db.internal", entry) == ("10.1.2.3",)
    else:
        with pytest.raises(NotSent):
            where("db.internal", "db.internal", entry)


def test_localhost_lists_loopback_and_no_other_name_does(monkeypatch: pytest.MonkeyPatch) -> None:
    leads(monkeypatch, "127.0.0.1")
    assert where("localhost", "localhost") == ("127.0.0.1",)
    for name in ("localhost.example.com", "notlocalhost"):
        with pytest.raises(NotSent):
            where(name, name)
    leads(monkeypatch, "10.0.0.1")
    with pytest.raises(NotSent):
        where("localhost", "localhost")


def test_a_name_without_an_address_is_no_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    leads(monkeypatch)
    with pytest.raises(NotSent) as refused:
        where("api.example.com", "api.example.com")
    assert refused.value.breach is None


def test_a_name_is_resolved_once_for_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the owner of the name answers a moment later is not asked for."""
    asked = leads(monkeypatch, "8.8.8.8")
    where("rebinding.example.com", "rebinding.example.com")
    assert asked == ["rebinding.example.com"]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, (1 << 32) - 1))
def test_an_ipv4_address_is_judged_alike_in_every_ipv6_disguise(number: int) -> None:
    plain = ipaddress.IPv4Address(number)
    allowed = Allowlist.of(("a.b",))

    def passes(address: object) -> bool:
        try:
            allowed.check_address("a.b", 443, str(address))
        except NotSent:
            return False
        return True

    assert passes(plain) == (plain.is_global and not plain.is_multicast and not plain.is_reserved)
    for prefix in (0xFFFF << 32, int(ipaddress.IPv6Address("64:ff9b::"))):
        assert passes(ipaddress.IPv6Address(prefix | number)) == passes(plain)


POLICY = """
interlock: 1
actions:
  a.b:
    tier: 3
    execute: {http: {method: POST, url: "https://api.example.com/x"}}
    constraints: {network_allowlist: [api.example.com, "ENTRY"]}
"""


@pytest.mark.parametrize("entry", ["10.0.0.0/8", "10.1.2.3:443", "[fd00::]/8", "[::1]:443", "0.0.0.0/0"])
def test_a_policy_lists_hosts_addresses_and_ranges(entry: str) -> None:
    parse({"policy.yaml": POLICY.replace("ENTRY", entry)})


@pytest.mark.parametrize(
    "entry", ["10.0.0.1/8", "10.0.0.0/33", "1.2.3/8", "a.b/8", "http://a", "*.a", "a b", ""]
)
def test_a_policy_does_not_list_what_is_no_host_and_no_range(entry: str) -> None:
    with pytest.raises(PolicyError):
        parse({"policy.yaml": POLICY.replace("ENTRY", entry)})

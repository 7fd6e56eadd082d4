"""Where clients may be led: by address, by name, and by the addresses of a name."""

import itertools
from ipaddress import ip_address
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import DNSLookupError
from twisted.internet.testing import MemoryReactorClock

from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy.destinations import Destinations, NotAllowed
from lbcproxy.proxy.restricted_endpoint import RestrictedEndpoint

PRIVATE = "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "fd00::1"
LOOPBACK = (
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0X7F.1", "017700000001", "0.0.0.0"),
    *("::1", "::", "::ffff:127.0.0.1"),
)


def rules(*, allow: str = "", deny: str = "") -> Destinations:
    return Destinations.parse(tuple(allow.split()), tuple(deny.split()))


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_have_a_name(host):
    """Also those of clouds, and of links."""
    assert not rules(deny="private").allows(host)
    assert rules(deny="loopback").allows(host)
    assert rules(allow="private").allows(host)


@pytest.mark.parametrize("host", [*LOOPBACK, "64:ff9b::7f00:1"])
def test_this_machine_has_a_name_however_it_is_written(host):
    """As a number, as an IPv6 address that stands for one of IPv4, or as no address at all."""
    assert not rules(deny="loopback").allows(host)
    assert not rules(deny="loopback").allows(host, resolves=False)
    assert rules(deny="private").allows(host)
    assert not rules(allow="8.0.0.0/8").allows(host)


@pytest.mark.parametrize(
    "rule",
    ["Private", "PRIVATE", "10.0.0.0/8", "::ffff:10.0.0.0/104", "64:ff9b::a00:0/104"],
)
def test_a_rule_means_the_same_however_it_is_written(rule):
    """A range in capitals is not a host of that name; an IPv4 network may be written as IPv6."""
    assert not rules(deny=rule).allows("10.1.2.3")
    assert not rules(deny=rule).allows("::ffff:10.1.2.3")
    assert rules(deny=rule).allows("8.8.8.8")


@pytest.mark.parametrize(
    ("allow", "deny", "host", "allowed"),
    [
        ("", "", "anything.example", True),
        ("seed.example", "", "seed.example", True),
        ("seed.example", "", "SEED.Example.", True),
        ("seed.example", "", "www.seed.example", False),
        (".example.com", "", "example.com", True),
        (".example.com", "", "a.b.example.com", True),
        ("*.example.com", "", "a.b.example.com", True),
        (".example.com", "", "badexample.com", False),
        (".onion", "", "abc.onion", True),
        (".onion", "", "8.8.8.8", False),
        ("", ".onion", "abc.onion", False),
        (".example.com", "www.example.com", "www.example.com", False),
        ("8.8.8.0/24", "8.8.8.8", "8.8.8.8", False),
        ("8.8.8.0/24", "8.8.8.8", "8.8.8.9", True),
        ("2001:db8::/32", "", "2001:db8::1", True),
        ("10.0.0.0/8", "", "any.example", True),  # its addresses decide
    ],
)
def test_rules_mean_what_they_say(allow, deny, host, allowed):
    """What is denied takes precedence over what is allowed."""
    assert rules(allow=allow, deny=deny).allows(host) is allowed


def test_a_name_that_the_proxy_looks_up_must_be_allowed_as_a_name():
    """Nobody can tell which addresses it has there."""
    assert not rules(allow="10.0.0.0/8").allows("any.example", resolves=False)
    assert rules(allow="any.example").allows("any.example", resolves=False)
    assert rules(deny="10.0.0.0/8").allows("any.example", resolves=False)


@pytest.mark.parametrize(
    ("address", "name", "allowed"),
    [("8.8.8.8", "", True), ("9.9.9.9", "", False), ("9.9.9.9", "good.example", True)],
)
def test_an_address_is_allowed_by_itself_or_by_the_name_that_has_it(address, name, allowed):
    """But no name makes up for an address that is denied."""
    assert rules(allow="8.8.8.8 good.example").allows_address(ip_address(address), name) is allowed
    denied = rules(allow="8.8.8.8 good.example", deny="0.0.0.0/0")
    assert not denied.allows_address(ip_address(address), name)


@pytest.mark.parametrize(
    "wrong", ["10.0.0.1/8", "10.0.0.0/33", "300.1.1.1", "::g", "a b", "http://x", "..x", ""]
)
def test_what_is_not_a_rule_is_refused(wrong):
    """A mistyped network must not become the name of a host."""
    with pytest.raises(ValueError, match="is not a network"):
        Destinations.parse((wrong,), ())


class Names:
    """A name server with an answer for each question."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = itertools.cycle(answers)
        self.asked: list[str] = []

    def resolveHostName(self, receiver: Any, name: str, **options: Any) -> Any:
        self.asked.append(name)
        receiver.resolutionBegan(None)
        for host in next(self.answers):
            kind = IPv6Address if ":" in host else IPv4Address
            receiver.addressResolved(kind("TCP", host, options["portNumber"]))
        receiver.resolutionComplete()


class Reactor(MemoryReactorClock):
    """A reactor that connects to no address, and has the names that a test gives it."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self.nameResolver = names


def dial(names: Names, rules: Destinations, host: str = "name.example") -> tuple[Any, list[str]]:
    """Dial, and return the failure there is and where it led."""
    reactor = Reactor(names)
    endpoint = RestrictedEndpoint(reactor, Endpoint(host, 9246), 5.0, rules=rules)
    failures: list[Any] = []
    endpoint.connect(None).addErrback(failures.append)
    reactor.advance(1)
    dialled = [each[0] for each in reactor.tcpClients]
    return (failures[0].value if failures else None), dialled


def test_a_name_with_a_denied_address_is_not_dialled():
    """Whatever its owner says that its address is."""
    failure, dialled = dial(Names(("127.0.0.1", "::1")), rules(deny="loopback"))
    assert isinstance(failure, NotAllowed)
    assert "not allowed: it has the address 127.0.0.1, ::1" in str(failure)
    assert dialled == []


def test_only_the_allowed_addresses_of_a_name_are_dialled():
    """It may have several."""
    failure, dialled = dial(Names(("10.0.0.1", "8.8.8.8")), rules(deny="private"))
    assert (failure, dialled) == (None, ["8.8.8.8"])


def test_a_name_is_looked_up_once():
    """What a second look would say cannot matter: what was checked is what is dialled."""
    names = Names(("8.8.8.8",), ("127.0.0.1",))
    failure, dialled = dial(names, rules(deny="loopback private"))
    assert (failure, dialled, names.asked) == (None, ["8.8.8.8"], ["name.example"])


def test_a_denied_name_is_not_even_looked_up():
    """The same of one that is not allowed."""
    for bounds in (rules(deny=".example"), rules(allow="other.example")):
        names = Names(("8.8.8.8",))
        failure, dialled = dial(names, bounds)
        assert isinstance(failure, NotAllowed)
        assert (dialled, names.asked) == ([], [])


def test_a_name_without_an_address_is_not_found():
    """As without rules."""
    failure, _ = dial(Names(()), rules(deny="loopback"))
    assert isinstance(failure, DNSLookupError)


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_denied_address_is_not_dialled(host):
    """Neither is one in an old form, which the system would understand."""
    failure, dialled = dial(Names(("8.8.8.8",)), rules(deny="loopback"), host)
    assert isinstance(failure, NotAllowed)
    assert dialled == []

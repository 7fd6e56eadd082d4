"""The server's side of SOCKS 5: every request, every prefix, every split, and nonsense."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.error import (
    ConnectError,
    DNSLookupError,
    NoRouteError,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as ConnectTimeout

from lbcproxy.endpoint import Endpoint
from lbcproxy.proxy.socks import SocksServer, reply, reply_to
from tests.proxy.socks_requests import NO_ADDRESS, NO_AUTH, PASSWORD, REQUEST, REQUESTS, to_name


def heard(data: bytes, *sizes: int) -> tuple[bytes, Endpoint | None, str, bytes]:
    """What becomes of a stream that comes in parts of these sizes, the last of what is left."""
    talk, answers = SocksServer(), b""
    for size in sizes:
        answers += talk.feed(data[:size])
        data = data[size:]
    answers += talk.feed(data)
    return answers, talk.destination, talk.refused, talk.rest


@pytest.mark.parametrize(
    ("name", "answers", "host"),
    [
        ("anybody", b"\5\0", "10.0.0.1"),
        ("password", b"\5\2\1\0", "10.0.0.1"),
        ("both", b"\5\0", "10.0.0.1"),
        ("name", b"\5\0", "node.example"),
        ("ipv6", b"\5\0", "2001:db8::1"),
    ],
)
def test_a_client_says_where_it_wants_to_go(name: str, answers: bytes, host: str):
    """Any name and password will do; the last word is said when there is a connection, or none."""
    assert heard(REQUESTS[name]) == (answers, Endpoint(host, 9246), "", b"")


def test_what_is_sent_after_the_request_is_kept():
    """A client that does not wait for the answer loses nothing."""
    assert heard(REQUESTS["early"]) == (b"\5\0", Endpoint("10.0.0.1", 9246), "", b"early")
    talk = SocksServer()
    talk.feed(REQUESTS["early"])
    talk.feed(b" bird")
    assert talk.rest == b"early bird"


@pytest.mark.parametrize(
    ("data", "answers", "words"),
    [
        (
            REQUESTS["no method"],
            b"\5\xff",
            "it offers (01 03), no supported authentication method",
        ),
        (b"\5\0", b"\5\xff", "offers (none)"),
        (REQUESTS["socks 4"], b"", "does not speak SOCKS 5: its first byte is 04"),
        (b"GET / HTTP/1.1\r\n", b"", "first byte is 47"),
        (b"\5\1\2\2", b"\5\2\1\1", "password has an unknown version: 02"),
        (REQUESTS["bind"], b"\5\0\5\7" + NO_ADDRESS, "asks for BIND, not CONNECT"),
        (NO_AUTH + b"\5\3\0\1", b"\5\0\5\7" + NO_ADDRESS, "asks for UDP ASSOCIATE"),
        (
            NO_AUTH + b"\5\xf0\0\3",
            b"\5\0\5\7" + NO_ADDRESS,
            "asks for Tor's RESOLVE, not CONNECT: start btcd and lbcd with --noonion",
        ),
        (NO_AUTH + b"\5\x55\0\3", b"\5\0\5\7" + NO_ADDRESS, "asks for command 55"),
        (REQUESTS["kind"], b"\5\0\5\10" + NO_ADDRESS, "address of unknown type 05"),
        (NO_AUTH + b"\4\1\0\1", b"\5\0\5\1" + NO_ADDRESS, "not SOCKS 5: 04"),
        (REQUESTS["no name"], b"\5\0\5\4" + NO_ADDRESS, "asks for :9246, which is not an address"),
        (
            NO_AUTH + to_name(b"a b"),
            b"\5\0\5\4" + NO_ADDRESS,
            "a b:9246, which is not an address",
        ),
        (
            NO_AUTH + to_name(b"\x1b[2J"),
            b"\5\0\5\4" + NO_ADDRESS,
            "which is not an address",
        ),
        (NO_AUTH + to_name(b"a", 0), b"\5\0\5\4" + NO_ADDRESS, "asks for a:0"),
    ],
)
def test_what_cannot_be_is_refused_with_the_code_for_it(data: bytes, answers: bytes, words: str):
    """Whoever reads the log, or the client's, knows what is wrong."""
    said, destination, why, _ = heard(data)
    assert (said, destination) == (answers, None)
    assert words in why
    assert "\x1b" not in why


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (b"127.0.0.1", "127.0.0.1"),
        (b"::1", "::1"),
        (b"[2001:DB8::1]", "2001:db8::1"),
        (b"fe80::1%eth0", "fe80::1"),
        (b"Node_1.example.", "Node_1.example."),
        (b"x" * 255, "x" * 255),
    ],
)
def test_an_address_may_be_given_as_a_name(name: bytes, host: str):
    """As btcd and lbcd do with every address."""
    assert heard(NO_AUTH + to_name(name))[1] == Endpoint(host, 9246)


@pytest.mark.parametrize("name", REQUESTS)
def test_every_prefix_waits_or_says_the_same(name: str):
    """Nothing is decided on less than it takes, and nothing raises."""
    data = REQUESTS[name]
    whole = heard(data)
    for size in range(len(data)):
        said, destination, why, _ = heard(data[:size])
        assert whole[0].startswith(said)
        assert destination in (None, whole[1])
        assert why in ("", whole[2])


@pytest.mark.parametrize("name", REQUESTS)
def test_byte_by_byte_is_the_same(name: str):
    """A slow client is a client."""
    data = REQUESTS[name]
    assert heard(data, *[1] * len(data))[:3] == heard(data)[:3]


@given(st.sampled_from(sorted(REQUESTS)), st.lists(st.integers(0, 12), max_size=12))
def test_any_split_is_the_same(name: str, sizes: list[int]):
    """TCP has no borders."""
    said, destination, why, rest = heard(REQUESTS[name], *sizes)
    assert (said, destination, why) == heard(REQUESTS[name])[:3]
    assert destination is None or rest == heard(REQUESTS[name])[3]


openings = st.sampled_from(
    [
        b"",
        NO_AUTH,
        PASSWORD,
        NO_AUTH + REQUEST,
        NO_AUTH + REQUEST + b"\3",
    ]
)


@given(openings, st.binary(max_size=2000), st.integers(0, 2000))
@example(b"", b"\5\xff" + bytes(255) + b"\5\1\0\3\xff" + b"a" * 255 + b"\0\1", 3)
def test_nonsense_comes_to_an_end(opening: bytes, data: bytes, size: int):
    """Whatever comes, a kilobyte is enough to decide, and less is ever kept."""
    talk = SocksServer()
    for part in (opening, data[:size], data[size:]):
        talk.feed(part)
        assert len(talk._buffer) < 256
    assert talk.over or len(opening + data) <= 1100
    assert talk.destination is None or (talk.destination.host and talk.destination.port)
    assert not (talk.refused and talk.destination)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused(111), 5),
        (NoRouteError(113), 4),
        (ConnectError(101), 3),
        (ConnectError(110), 6),
        (ConnectTimeout(), 6),
        (DNSLookupError("no such host"), 4),
        (ConnectError(string="odd"), 1),
        (OSError("odd"), 1),
    ],
)
def test_a_failure_has_its_code(error: BaseException, code: int):
    """Nodes treat "refused" and "unreachable" differently."""
    assert reply_to(error) == bytes((5, code)) + NO_ADDRESS


def test_a_success_contains_our_address():
    """RFC 1928 has it so, whoever may use it."""
    assert reply_to(Endpoint("10.0.0.2", 258)) == b"\5\0\0\1\12\0\0\2\1\2"
    assert reply(0, Endpoint("::1", 1)) == b"\5\0\0\4" + bytes(15) + b"\1\0\1"
    assert reply_to(Endpoint("", 0)) == b"\5\0\0\1" + bytes(6)

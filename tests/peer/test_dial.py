"""Why there is no connection, in words for people."""

import errno

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectError, DNSLookupError, NoRouteError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TooLate

from lbcproxy.peer.dial import EXPECTED, reason_of


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Refused(errno.ECONNREFUSED), "Connection refused"),
        (NoRouteError(errno.EHOSTUNREACH), "No route to host"),
        (DNSLookupError("no results for hostname lookup: nowhere"), "no such host"),
        (TooLate(), "no answer in time"),
        (ConnectError(string="what\x1b[2J\nhappened"), r"what\x1b[2J\nhappened"),
        (CancelledError(), "CancelledError"),
    ],
)
def test_why_there_is_no_connection(error: Exception, words: str):
    """The system's words where it has some; nothing that acts on a terminal."""
    assert isinstance(error, EXPECTED)
    assert words in reason_of(error)
    assert "\x1b" not in reason_of(error)

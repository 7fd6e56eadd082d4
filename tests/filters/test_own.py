"""Messages and networks of one's own."""

from typing import Any, ClassVar

import msgspec
import pytest

from lbcproxy import networks
from lbcproxy.filters import BadFilter, parse
from lbcproxy.session import Direction, Entry, Message
from lbcproxy.wire import Codec, registry
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.fields import UInt32, VarBytes, VarStr
from lbcproxy.wire.record import MessageRecord

REGTEST = networks.get("lbry-regtest")
UNKNOWN = msgspec.structs.replace(REGTEST, id="own-net")


class Greeting(MessageRecord, frozen=True, gc=False):
    """A friendly word."""

    command: ClassVar[str] = "greeting"

    mood: UInt32

    @property
    def cheerful(self) -> bool:
        """Whether it is meant well."""
        return self.mood > 3

    def derived(self) -> dict[str, Any]:
        """Return the mood in a word."""
        return {"cheerful": self.cheerful}


@pytest.fixture
def greeting(monkeypatch):
    """Register the message for one test, and return an entry of it."""
    monkeypatch.setitem(registry._records(), "greeting", Greeting)
    return entry("greeting", b"\x07\0\0\0", REGTEST)


def entry(command, payload, network):
    """Make the entry of a message."""
    codec = Codec(network)
    message = Message(command, Direction.TO_CLIENT, frame(network.magic, command, payload), codec)
    return Entry(number=1, time_ns=0, session=1, direction=Direction.TO_CLIENT, message=message)


def test_a_message_of_ones_own_can_be_asked_for(greeting):
    """Its fields are declared, as those of all others; what it derives has its name."""
    for text in (
        "greeting",
        "greeting.mood == 7",
        "greeting.cheerful",
        "greeting.cheerful == true",
    ):
        assert parse(text)(greeting)
    assert not parse("greeting.mood < 7")(greeting)
    with pytest.raises(BadFilter, match="did you mean mood"):
        parse("greeting.moood == 7")
    with pytest.raises(BadFilter, match="a value has no field 'x'"):
        parse("greeting.cheerful.x == 7")


def test_without_it_there_is_no_such_command():
    """The fixture above cleans up."""
    with pytest.raises(BadFilter, match="no name 'greeting'"):
        parse("greeting")


def test_a_network_nobody_has_registered_has_no_addresses():
    """How they are written is not known there; fields are what they are."""
    tx = bytes(4) + b"\x01" + bytes(41) + b"\x01" + bytes(8) + b"\x01\x51" + bytes(4)
    for network in (REGTEST, UNKNOWN):
        found = entry("tx", tx, network)
        assert parse("len(tx.outputs) == 1 and len(tx.addresses) == 0")(found)
        assert parse("not tx.claims and tx.outputs[0].address == null")(found)
        assert parse(f'network == "{network.id}"')(found)


def test_kinds_of_text_are_distinguished():
    """A string is text, and bytes are hexadecimal."""
    assert VarStr.entries is not VarBytes.entries
    reject = entry("reject", b"\x02tx\x10\x03\xff\xfe\xfd" + bytes(32), REGTEST)
    assert parse('reject.reason == null and reject.reason_hex == "FFFEFD"')(reject)
    assert parse('reject.message == "tx" and reject.message_hex == "7478"')(reject)

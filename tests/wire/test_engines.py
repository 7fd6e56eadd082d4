"""Which engine reads, what it keeps, and what is said where the native one is missing."""

import sys
from typing import ClassVar

import msgspec
import pytest

from lbcproxy import networks, wire
from lbcproxy.wire import engine, record, scan
from lbcproxy.wire.engine import ENGINES, ConstructEngine, missing_engine_warning
from lbcproxy.wire.errors import BadRecord
from lbcproxy.wire.fields import UInt8
from lbcproxy.wire.messages.keepalive import Ping
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from lbcproxy.wire.record import MessageRecord
from tests.engines import require_native

LBRY = networks.get("lbry-mainnet")


class Odd(MessageRecord, frozen=True, gc=False):
    """A message whose check has a defect."""

    command: ClassVar[str] = "x-odd"

    number: UInt8

    def check(self) -> None:
        """Fail."""
        1 / self.number


TX = Tx(1, (TxIn(bytes(32), 1, b"sig", 0, (b"witness",)),), (TxOut(5, b"\x51"),), 0)


def test_the_first_engine_is_the_default():
    """The fastest that there is."""
    assert list(ENGINES)[-1] == "construct"
    assert wire.Codec(LBRY).engine == next(iter(ENGINES))
    assert wire.Codec(LBRY, engine="construct").engine == "construct"


def test_without_the_extensions_there_is_python(monkeypatch):
    """Where there is no compiler, everything works all the same."""
    for name in ("_native", "_scan", "_plain"):
        monkeypatch.setitem(sys.modules, f"lbcproxy.wire.{name}", None)
    assert engine._engines() == {"construct": ConstructEngine}
    assert scan._scans() == {"python": scan.by_python}
    assert record._plain_of.__wrapped__(Ping)(Ping(7)) == {"nonce": 7}


def test_a_missing_engine_is_worth_a_warning(monkeypatch):
    """Everything works without it, only slowly."""
    monkeypatch.setattr(engine, "ENGINES", {"construct": ConstructEngine})
    assert "install a C compiler" in (missing_engine_warning() or "")
    monkeypatch.setattr(engine, "ENGINES", {"native": object, "construct": ConstructEngine})
    assert missing_engine_warning() is None


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("witness", [False, True])
def test_ids_are_the_same_by_each_engine(monkeypatch, name, witness):
    """They are hashes of what the fastest engine writes."""
    params = msgspec.structs.replace(wire.Codec(LBRY).params, witness=witness)
    expected = ConstructEngine(Tx, params).encode(TX)
    monkeypatch.setattr(engine, "ENGINES", {name: ENGINES[name]})
    assert engine.bytes_of(TX, params) == expected
    assert (b"witness" in expected) is witness


def test_versions_that_change_nothing_share_what_was_made():
    """A peer may claim any version; only some of them change how a message is read."""
    require_native()
    trees = [
        engine.tree_of(Ping, wire.Codec(LBRY, version).params)
        for version in (0, 60000, 60001, 70016)
    ]
    assert trees[0] is trees[1]
    assert trees[2] is trees[3]
    assert trees[1] is not trees[2]
    assert engine._version_changes(Ping) == (60001,)
    assert engine._version_changes(wire.record_of("addr")) == (31402,)


@pytest.mark.parametrize("name", ENGINES)
def test_any_error_of_a_wrong_value_is_one_of_the_record(name):
    """Constructs raise all kinds; what a plugin sees is one, with the cause where that helps."""
    codec = wire.Codec(LBRY, engine=name)
    with pytest.raises(BadRecord) as caught:
        codec.encode(Tx(1, (TxIn(bytes(32), 1, b"", 0, (5,)),), (), 0))
    assert caught.value.where == "inputs[0].witness[0]"
    assert caught.value.__cause__ is None
    with pytest.raises(BadRecord, match=r"^ZeroDivisionError: division by zero$") as caught:
        codec.encode(Odd(0))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("name", ENGINES)
def test_the_offset_of_an_error_is_that_of_its_field(name):
    """Of an error of the record as a whole it is 0."""
    codec = wire.Codec(LBRY, engine=name)
    with pytest.raises(wire.BadPayload) as caught:
        codec.decode("inv", b"\1\1\0\0\0abc")
    assert (caught.value.where, caught.value.offset) == ("inventory[0].hash", 5)
    assert caught.value.cut_short
    # 65,536 short ids and prefilled transactions are too many together.
    header = LBRY.genesis + bytes(8)
    ids = b"\xfd\xff\xff" + bytes(6 * 0xFFFF)
    tx = wire.Codec(LBRY).encode(TX)
    with pytest.raises(wire.BadPayload, match="65536 transactions, at most 65535") as caught:
        codec.decode("cmpctblock", header + ids + b"\1\0" + tx)
    assert (caught.value.where, caught.value.offset) == ("", 0)
    assert not caught.value.cut_short


def test_a_codec_cannot_be_changed():
    """Messages that were read with it keep it."""
    codec = wire.Codec(LBRY)
    with pytest.raises(AttributeError, match="so its encoding cannot be set"):
        codec.encoding = "base"
    assert (codec.protocol_version, codec.encoding) == (LBRY.protocol_version, "witness")
    assert codec.params.witness
    assert not wire.Codec(LBRY, encoding="base").params.witness
    assert wire.Codec(LBRY, 0).protocol_version == 0


def test_what_is_too_long_has_no_fields():
    """Up to the limit it has."""
    codec = wire.Codec(LBRY, 60001)
    assert codec.partial("ping", bytes(8)) is not None
    assert codec.partial("ping", bytes(9)) is None
    assert wire.Codec(LBRY).partial("feature", b"") is None


def test_trailing_bytes_must_be_bytes_and_count():
    """They are part of the payload."""
    codec = wire.Codec(LBRY)
    with pytest.raises(BadRecord, match="trailing: 'x' is not bytes"):
        codec.encode(msgspec.structs.replace(Ping(1), trailing="x"))
    with pytest.raises(BadRecord, match="9 bytes, at most 8 allowed for ping"):
        codec.encode(msgspec.structs.replace(Ping(1), trailing=b"x"))

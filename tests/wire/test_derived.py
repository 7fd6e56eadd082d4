"""What records compute of their fields, and what they check of several at once."""

from io import BytesIO

import msgspec
import pytest

from lbcproxy import networks, wire
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import UInt8
from lbcproxy.wire.hashes import display, lbry_pow_hash, sha256d
from lbcproxy.wire.messages.addresses import AddressV2, AddrV2
from lbcproxy.wire.messages.bloom import FilterAdd, FilterLoad
from lbcproxy.wire.messages.compact_blocks import CmpctBlock, GetBlockTxn, PrefilledTx
from lbcproxy.wire.messages.headers import BlockHeader, GetBlocks
from lbcproxy.wire.messages.inventory import type_name
from lbcproxy.wire.messages.reject import Alert, AlertBody
from lbcproxy.wire.messages.transactions import LOCK_TIME_THRESHOLD, Tx, TxIn, TxOut
from lbcproxy.wire.partial import Partial
from lbcproxy.wire.record import Record, build, parse
from lbcproxy.wire.rules import ANY_CHAIN, Params

LBRY, BITCOIN = networks.get("lbry-mainnet"), networks.get("bitcoin-mainnet")
HEADER = BlockHeader(-1, b"\1" * 32, b"\2" * 32, b"\3" * 32, 4, 5, 6)
INPUT = TxIn(bytes(32), 1, b"sig", 0)
TX = Tx(1, (INPUT,), (TxOut(5, b"\x51"),), 0)


def test_the_id_of_a_header_is_the_hash_of_its_bytes():
    """LBRY's has a proof-of-work hash besides; elsewhere that is the id."""
    assert HEADER.to_bytes().hex() == (
        "ffffffff" + "01" * 32 + "02" * 32 + "03" * 32 + "040000000500000006000000"
    )
    assert HEADER.hash == sha256d(HEADER.to_bytes())
    assert HEADER.pow_hash == lbry_pow_hash(HEADER.to_bytes())
    assert HEADER.to_dict()["pow_hash"] == display(HEADER.pow_hash)
    bare = msgspec.structs.replace(HEADER, claim_trie=None)
    assert len(bare.to_bytes()) == 80
    assert bare.pow_hash == bare.hash
    assert "pow_hash" not in bare.to_dict()
    assert bare.to_dict()["hash"] == display(bare.hash)


def test_ids_of_a_transaction_differ_if_it_has_a_witness():
    """The id leaves the witness out."""
    assert (TX.to_dict()["txid"], TX.txid) == (TX.to_dict()["wtxid"], TX.wtxid)
    segwit = Tx(1, (msgspec.structs.replace(INPUT, witness=(b"w",)),), TX.outputs, 0)
    assert segwit.txid == TX.txid
    assert segwit.wtxid != TX.wtxid
    shown = segwit.to_dict()
    assert (shown["txid"], shown["wtxid"]) == (display(TX.txid), display(segwit.wtxid))


@pytest.mark.parametrize(
    ("inputs", "outputs", "mweb", "only"),
    [
        ((), (), b"x", True),
        ((INPUT,), (), b"x", False),
        ((), TX.outputs, b"x", False),
        ((), (), None, False),
    ],
)
def test_a_transaction_of_an_extension_block_alone_has_no_id(inputs, outputs, mweb, only):
    """Its id is a hash of what is not parsed."""
    tx = Tx(1, inputs, outputs, 7, mweb)
    assert tx.is_mweb_only is only
    assert (tx.to_dict()["txid"] is None) is only
    assert ("hash not known" in tx.summary()) is only
    if mweb:
        assert tx.summary().endswith(", 1 B of MWEB data not read")


def test_data_of_the_transaction_that_sums_up_a_block_are_none():
    """One byte that says so."""
    assert "MWEB" not in msgspec.structs.replace(TX, mweb=b"\0").summary()
    assert LOCK_TIME_THRESHOLD == 500_000_000


def test_a_transaction_that_is_cut_off_is_not_taken_for_one_of_an_extension_block():
    """Its summary needs the lock time, so that its fields are listed."""
    codec = wire.Codec(networks.get("litecoin-mainnet"))
    payload = codec.encode(msgspec.structs.replace(TX, mweb=b"\0"))
    partial = codec.partial("tx", payload[:-1])
    assert partial is not None
    assert partial.summary() == "version 1, 1 inputs, 1 outputs, mweb 00"


class Nested(Record, frozen=True, gc=False):
    """A record that reads something else to check itself."""

    number: UInt8

    def check(self) -> None:
        """Fail as the reading of something else would."""
        error = FieldError("bad")
        error.read = ("something else",)
        raise error


def test_what_a_check_has_read_is_no_field():
    """All fields were read by then, and are kept."""
    with pytest.raises(FieldError) as caught:
        parse(Nested.schema, BytesIO(b"\7"), Params(ANY_CHAIN, 0, witness=False))
    assert dict(caught.value.read) == {"number": 7}


def test_indexes_of_transactions_are_counted_from_the_one_before():
    """BIP152: the difference, plus one."""
    request = GetBlockTxn(bytes(32), (0, 0, 5, 0))
    assert request.indexes == (0, 1, 7, 8)
    assert request.to_dict()["indexes"] == [0, 1, 7, 8]
    block = CmpctBlock(HEADER, 1, (), (PrefilledTx(3, TX), PrefilledTx(0, TX)))
    assert block.indexes == (3, 4)
    assert [each["index"] for each in block.to_dict()["prefilled"]] == [3, 4]
    assert GetBlockTxn(bytes(32), ()).indexes == ()


@pytest.mark.parametrize("engine", wire.engine.ENGINES)
def test_an_index_has_16_bits(engine):
    """Core stores it so; the last that fits, and the first that does not."""
    codec = wire.Codec(LBRY, engine=engine)
    for request, fits in (
        (GetBlockTxn(bytes(32), (0xFFFF,)), True),
        (GetBlockTxn(bytes(32), (0x10000,)), False),
        (GetBlockTxn(bytes(32), (0xFFFE, 0)), True),
        (GetBlockTxn(bytes(32), (0xFFFE, 1)), False),
        (CmpctBlock(HEADER, 1, (), (PrefilledTx(0xFFFF, TX),)), True),
        (CmpctBlock(HEADER, 1, (), (PrefilledTx(0x10000, TX),)), False),
    ):
        if fits:
            assert codec.decode(request.command, codec.encode(request)) == request
        else:
            field = "index_deltas" if request.command == "getblocktxn" else "prefilled"
            with pytest.raises(wire.BadRecord, match=f"^{field}: index 65536 does not fit"):
                codec.encode(request)


@pytest.mark.parametrize("engine", wire.engine.ENGINES)
def test_limits_of_values(engine):
    """Hash functions of a filter; the length of an address by its network."""
    codec = wire.Codec(LBRY, engine=engine)
    assert codec.encode(FilterLoad(b"", 50, 0, 0))
    with pytest.raises(wire.BadRecord, match="hash_funcs: 51 hash functions, at most 50 allowed"):
        codec.encode(FilterLoad(b"", 51, 0, 0))
    for network, size in ((1, 4), (2, 16), (4, 32), (5, 32), (6, 16)):
        good = AddrV2((AddressV2(0, 0, network, bytes(size), 1),))
        assert codec.decode("addrv2", codec.encode(good)) == good
        words = rf"addresses\[0\].addr: {size + 1} bytes, but addresses of network {network} have"
        with pytest.raises(wire.BadRecord, match=f"{words} {size}"):
            codec.encode(AddrV2((AddressV2(0, 0, network, bytes(size + 1), 1),)))
    assert codec.encode(AddrV2((AddressV2(0, 0, 7, bytes(99), 1),)))


@pytest.mark.parametrize("engine", wire.engine.ENGINES)
def test_limits_of_lengths(engine):
    """A value that no node would accept is not written."""
    codec = wire.Codec(LBRY, engine=engine)
    assert codec.encode(FilterAdd(bytes(520)))
    with pytest.raises(wire.BadRecord, match="^data: 521 bytes, at most 520 allowed"):
        codec.encode(FilterAdd(bytes(521)))
    assert codec.encode(GetBlocks(1, (bytes(32),) * 500, bytes(32)))
    with pytest.raises(wire.BadRecord, match="^locator: 501 entries, at most 500 allowed"):
        codec.encode(GetBlocks(1, (bytes(32),) * 501, bytes(32)))


def test_the_body_of_an_alert_is_read_if_it_can_be():
    """It is signed as bytes, and so kept as bytes."""
    body = AlertBody(1, 2, 3, 4, 5, (6,), 7, 8, (b"/x/",), 9, b"comment", b"status", b"reserved")
    raw = build(AlertBody.schema, body, Params(ANY_CHAIN, 0, witness=False))
    alert = Alert(raw + b"more", b"signature")
    assert alert.body == body
    assert alert.to_dict()["alert"]["set_sub_ver_hex"] == [b"/x/".hex()]
    assert alert.to_dict()["payload_hex"] == (raw + b"more").hex()
    assert Alert(raw[:-1], b"").body is None
    assert Alert(raw[:-1], b"").to_dict()["alert"] is None


def test_names_of_types():
    """Those without a name have their number."""
    assert type_name(0x40000002) == "witness block"
    assert type_name(6) == "unknown (6)"


def test_what_was_read_of_a_message_is_listed_in_few_words():
    """Five fields, each up to 60 characters; lists by their length, nested records in brackets."""
    codec = wire.Codec(LBRY)
    version = bytes.fromhex("7f110100 0500000000000000 0000000000000000")
    address = "services 1, ip 1.2.3.4, port 9246"
    raw = bytes.fromhex("0100000000000000 00000000000000000000ffff01020304 241e")
    partial = codec.partial("version", version + raw + raw + b"\1")
    assert partial is not None
    assert partial.summary() == (
        f"version 70015, services 5, timestamp 0, addr_recv ({address}), addr_from ({address})"
    )
    reject = codec.partial("reject", b"\x50" + b"x" * 80)
    assert reject is not None
    assert reject.summary() == f"message {'x' * 60}..."
    assert (len(reject), list(reject), reject["message"]) == (1, ["message"], b"x" * 80)
    inv = codec.partial("inv", b"\3" + bytes(36) + bytes(36))
    assert inv is not None
    assert inv.summary() == "size 2"
    headers = codec.partial("addr", b"\3" + bytes(30) + bytes(30))
    assert isinstance(headers, Partial)
    assert headers.summary() == "2 addr"

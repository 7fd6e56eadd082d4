"""The codec: payloads to records and back, and what it says of what it refuses."""

from typing import Annotated, ClassVar

import msgspec
import pytest
from construct import Bytes, Int8ul, this
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lbcproxy import networks, wire
from lbcproxy.wire import registry
from lbcproxy.wire.messages.addresses import AddrV2
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.messages.headers import Headers
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import Ping, Pong
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from lbcproxy.wire.record import MessageRecord
from tests.strategies import records
from tests.vector_files import load, payload_of

LBRY = networks.get("lbry-mainnet")
BITCOIN = networks.get("bitcoin-mainnet")
VERSIONS = (209, 31402, 60000, 60001, 60002, 70001, 70002, 70012, 70013, 70016)


@pytest.mark.parametrize("network", [LBRY, BITCOIN], ids=lambda each: each.id)
@pytest.mark.parametrize("command", wire.commands())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_is_encoded_decodes_to_itself(network, command, data):
    """Encoding and decoding are each other's inverse, at every version and in both encodings."""
    record = wire.record_of(command)
    version = data.draw(st.sampled_from([each for each in VERSIONS if each >= record.since]))
    codec = wire.Codec(network, version, data.draw(st.sampled_from(("base", "witness"))))
    value = data.draw(records(record, codec.params))
    if ambiguous(value, codec):
        return
    try:
        payload = codec.encode(value)
    except wire.BadRecord as error:
        assert "bytes, at most" in str(error)  # only the size of the whole may be too much
        return
    assert codec.decode(command, payload) == value
    assert codec.encode(codec.decode(command, payload)) == payload


def ambiguous(value: MessageRecord, codec: wire.Codec) -> bool:
    """In the witness encoding a transaction without inputs is read as one with a marker."""
    transactions = [value, *getattr(value, "transactions", ())]
    transactions += [each.tx for each in getattr(value, "prefilled", ())]
    return codec.params.witness and any(
        isinstance(each, Tx) and not each.inputs for each in transactions
    )


def short_good_vectors():
    seen = {}
    for vector in load("vectors"):
        family = vector["network"].partition("-")[0]
        payload = payload_of(vector)
        key = (vector["command"], family, vector["encoding"])
        if (
            payload
            and len(payload) < 1500
            and len(payload) > len(payload_of(seen.get(key, vector)))
        ):
            seen[key] = vector
        elif payload and len(payload) < 1500:
            seen.setdefault(key, vector)
    return list(seen.values())


@pytest.mark.parametrize("vector", short_good_vectors(), ids=lambda each: each["id"])
def test_every_prefix_is_refused_at_a_field_or_is_a_legal_end(vector):
    """A cut payload must never be taken for a whole one; only `version` may end early."""
    codec = wire.Codec(networks.get(vector["network"]), vector["pver"], vector["encoding"])
    payload = payload_of(vector)
    for size in range(len(payload)):
        try:
            record = codec.decode(vector["command"], payload[:size])
        except wire.BadPayload as error:
            assert error.where or size == 0 or vector["command"] == "cmpctblock"
            assert error.offset <= size
        else:
            assert vector["command"] == "version" or codec.encode(record) == payload[:size]


def test_error_names_the_field_from_the_outside_in_and_its_byte():
    """Somebody at two in the morning looks at the hexdump for it."""
    value = Tx(1, (TxIn(bytes(32), 0, b"\1\2\3", 7),), (TxOut(5, b"\4" * 10),), 0)
    payload = wire.Codec(LBRY).encode(value)
    with pytest.raises(wire.BadPayload) as caught:
        wire.Codec(LBRY).decode("tx", payload[:-10])
    assert caught.value.where == "outputs[0].script_pubkey"
    assert caught.value.offset == payload.index(b"\x0a" + b"\4" * 10)
    assert caught.value.what == "10 bytes needed, 4 left"


def test_short_number_says_how_many_bytes_are_missing():
    """Numbers are construct's own; their errors are put into our words."""
    with pytest.raises(wire.BadPayload, match=r"^nonce at byte 0: 8 bytes needed, 3 left$"):
        wire.Codec(LBRY).decode("pong", b"\1\2\3")


def test_the_start_of_a_payload_that_is_too_long_can_be_read():
    """As Bitcoin Core reads it, up to its 4,000,000 bytes; otherwise as `decode`."""
    codec = wire.Codec(networks.get("lbry-mainnet"))
    with pytest.raises(wire.BadPayload, match="at most 8"):
        codec.decode("ping", bytes(9))
    assert codec.decode_start("ping", bytes(8) + b"more") == Ping(0, trailing=b"more")
    assert len(codec.decode_start("ping", bytes(4_000_000)).trailing) == 3_999_992
    with pytest.raises(wire.BadPayload, match="at most 4000000"):
        codec.decode_start("ping", bytes(4_000_001))
    with pytest.raises(wire.BadPayload, match="7 left"):
        codec.decode_start("ping", bytes(7))
    with pytest.raises(wire.BadPayload, match="needs protocol version"):
        wire.Codec(codec.network, 70012).decode_start("feefilter", bytes(9))
    with pytest.raises(wire.UnknownCommand):
        codec.decode_start("nobodyknows", b"")


def test_trailing_bytes_are_kept_and_written_again():
    """No node refuses them, so a message that passes through a record must not lose them."""
    codec = wire.Codec(LBRY)
    payload = codec.encode(Inv((InventoryVector(1, bytes(32)),))) + b"more"
    record = codec.decode("inv", payload)
    assert record.trailing == b"more"
    assert codec.encode(record) == payload


def test_a_count_is_checked_against_its_limit_before_anything_is_read_for_it():
    """Five bytes may claim 50,001 entries; they must not cost memory or time."""
    with pytest.raises(wire.BadPayload, match="50001 entries, at most 50000"):
        wire.Codec(LBRY).decode("inv", b"\xfd\x51\xc3")


def test_unknown_command_is_an_error_of_its_own():
    """Callers pass it on, and must be able to tell it from a malformed payload."""
    with pytest.raises(wire.UnknownCommand):
        wire.Codec(LBRY).decode("feature", b"")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (Ping("x"), "nonce"),
        (Ping(2**64), "nonce"),
        (Ping(None), "nonce: missing: from protocol version 60001 on"),
        (Inv("text"), "inventory"),
        (Inv((Ping(1),)), r"inventory\[0\]: Ping is not InventoryVector"),
        (Inv((InventoryVector(1, b"short"),)), r"inventory\[0\].hash: b'short' is not 32 bytes"),
        (Inv((InventoryVector(1, bytes(32)),) * 50001), "50001 entries"),
        (Tx(1, (), (TxOut(1, "text"),), 0), r"outputs\[0\].script_pubkey: 'text' is not bytes"),
        (Tx(1, (3,), (), 0), r"inputs\[0\]: int is not TxIn"),
        (Version(1, 0, 0, None), "addr_recv: NoneType is not NetAddress"),
    ],
)
def test_record_with_impossible_values_is_refused_with_its_field(record, words):
    """A plugin's mistake must be named, never half sent."""
    with pytest.raises(wire.BadRecord, match=words):
        wire.Codec(LBRY).encode(record)


def test_what_is_not_a_record_cannot_be_encoded():
    """The first mistake everybody makes is to hand in the dictionary."""
    with pytest.raises(wire.BadRecord, match="dict is not the record of a message"):
        wire.Codec(LBRY).encode({"nonce": 1})


def test_message_of_a_later_version_is_refused_both_ways():
    """Nodes refuse commands that their negotiated version does not have."""
    codec = wire.Codec(LBRY, 60000)
    with pytest.raises(wire.BadPayload, match="needs protocol version 60001, 60000 was agreed"):
        codec.decode("pong", bytes(8))
    with pytest.raises(wire.BadRecord, match="needs protocol version 60001"):
        codec.encode(Pong(1))


def test_headers_differ_by_chain():
    """LBRY's header has 32 bytes more: the claim trie, between merkle root and time."""
    lbry = wire.Codec(LBRY).decode("headers", b"\1" + LBRY.genesis + b"\0")
    bitcoin = wire.Codec(BITCOIN).decode("headers", b"\1" + BITCOIN.genesis + b"\0")
    assert isinstance(lbry, Headers)
    assert isinstance(bitcoin, Headers)
    assert lbry.headers[0].claim_trie == b"\1" + bytes(31)
    assert bitcoin.headers[0].claim_trie is None
    assert "claim_trie" not in bitcoin.to_dict()["headers"][0]


def test_header_without_its_claim_trie_cannot_be_sent_on_lbry():
    """A record read on one chain must not slip onto another."""
    headers = wire.Codec(BITCOIN).decode("headers", b"\1" + BITCOIN.genesis + b"\0")
    with pytest.raises(wire.BadRecord, match=r"headers\[0\].claim_trie: missing"):
        wire.Codec(LBRY).encode(headers)


WITNESS_TX = Tx(2, (TxIn(bytes(32), 1, b"", 0, (b"sig", b"key")),), (TxOut(9, b"\x51"),), 0)


def test_auto_reads_both_encodings():
    """A tap does not know which one a node chose."""
    auto = wire.Codec(LBRY, encoding="auto")
    base = wire.Codec(LBRY, encoding="base").encode(WITNESS_TX)
    witness = wire.Codec(LBRY, encoding="witness").encode(WITNESS_TX)
    assert base != witness
    assert auto.decode("tx", witness) == WITNESS_TX
    assert auto.decode("tx", base).inputs[0].witness == ()


def test_auto_takes_base_only_if_it_uses_every_byte():
    """Base misreads a cut witness transaction as one without inputs, leaving bytes over."""
    auto = wire.Codec(LBRY, encoding="auto")
    witness = wire.Codec(LBRY).encode(WITNESS_TX)
    with pytest.raises(wire.BadPayload):
        auto.decode("tx", witness[:-1])


def test_auto_says_of_what_neither_encoding_fits_what_the_witness_encoding_says():
    """It is the one that nodes use."""
    for payload in (b"\1\0\0\0", b"\1\0\0\0\1" + bytes(36)):
        words = []
        for encoding in ("auto", "witness"):
            with pytest.raises(wire.BadPayload) as caught:
                wire.Codec(LBRY, encoding=encoding).decode("tx", payload)
            words.append(str(caught.value))
        assert words[0] == words[1]


def test_auto_keeps_what_trails_a_transaction_that_only_the_witness_encoding_reads():
    """Base would have to use every byte."""
    witness = wire.Codec(LBRY).encode(WITNESS_TX)
    found = wire.Codec(LBRY, encoding="auto").decode("tx", witness + b"xy")
    assert found == msgspec.structs.replace(WITNESS_TX, trailing=b"xy")


def test_auto_reads_a_base_transaction_without_inputs():
    """Only base can read it: its count of zero looks like a witness marker."""
    payload = wire.Codec(LBRY, encoding="base").encode(Tx(1, (), (TxOut(1, b""),), 0))
    assert wire.Codec(LBRY, encoding="auto").decode("tx", payload).outputs == (TxOut(1, b""),)


@pytest.mark.parametrize("argument", [{"encoding": "segwit"}, {"engine": "go"}])
def test_impossible_codec_is_refused_when_it_is_made(argument):
    """A typing mistake should not wait for the first message."""
    with pytest.raises(ValueError, match=r"segwit|go"):
        wire.Codec(LBRY, **argument)


def test_ids_of_a_real_block():
    """The genesis block's ids are known to everybody."""
    vector = next(v for v in load("vectors") if v["id"] == "lbry-mainnet/block/genesis")
    block = wire.Codec(LBRY).decode("block", payload_of(vector))
    assert block.header.hash[::-1].hex() == (
        "9c89283ba0f3227f6c03b70216b9f665f0118d5e0fa729cedf4fb34d6a34f463"
    )
    assert block.transactions[0].txid[::-1].hex() == (
        "b8211c82c3d15bcd78bba57005b86fed515149a53a425eb592c07af99fe559cc"
    )
    assert block.transactions[0].wtxid == block.transactions[0].txid


class Sized(MessageRecord, frozen=True, gc=False):
    """A message with a field that looks at another, as construct allows and ours do not."""

    command: ClassVar[str] = "x-sized"

    size: Annotated[int, Int8ul]
    body: Annotated[bytes, Bytes(this.size)]


@pytest.fixture
def sized():
    """Have the message for one test."""
    registry.register(Sized)
    yield Sized
    registry._records().pop("x-sized")


def test_a_users_own_message_may_use_all_of_construct(sized):
    """Somebody's experimental message is one class, and needs no edit of ours."""
    codec = wire.Codec(LBRY)
    assert codec.decode("x-sized", b"\3abc") == sized(3, b"abc")
    assert codec.encode(sized(3, b"abc")) == b"\3abc"
    assert sized(3, b"abc").to_dict() == {"size": 3, "body": "616263"}
    with pytest.raises(wire.BadPayload) as caught:
        codec.decode("x-sized", b"\3ab")
    assert (caught.value.where, caught.value.offset) == ("body", 1)


def test_a_command_has_one_record(sized):
    """Two declarations of one message would be read by chance."""

    class Other(MessageRecord, frozen=True, gc=False):
        command: ClassVar[str] = "x-sized"

    with pytest.raises(ValueError, match="x-sized"):
        registry.register(Other)


def test_tor_v2_of_any_length_passes():
    """Core skips network 3 as unknown; so may one look at it."""
    payload = bytes.fromhex("0101020304090302" + "abcd" + "241e")
    record = wire.Codec(BITCOIN).decode("addrv2", payload)
    assert isinstance(record, AddrV2)
    assert record.to_dict()["addresses"][0]["addr_hex"] == "abcd"

"""Litecoin's transactions and blocks, whose MWEB data are kept and not read."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcproxy import networks, wire
from lbcproxy.wire.hashes import display
from tests.engines import ENGINES

LITECOIN = networks.get("litecoin-regtest")
BITCOIN = networks.get("bitcoin-regtest")
MADE = json.loads((Path(__file__).parents[1] / "vectors" / "litecoin.json").read_text())
VECTORS = {name: made for name, made in MADE.items() if isinstance(made, dict)}
"""Made by Litecoin Core 0.21.2.1."""


def payload_of(name: str) -> bytes:
    return bytes.fromhex(VECTORS[name]["payload_hex"])


@pytest.fixture(params=ENGINES)
def codec(request: pytest.FixtureRequest) -> wire.Codec:
    return wire.Codec(LITECOIN, engine=request.param)


@pytest.mark.parametrize("name", VECTORS)
def test_what_litecoin_core_made_comes_back_byte_by_byte(codec, name):
    """Nothing is left over, and nothing is lost by a change of another field."""
    payload, command = payload_of(name), VECTORS[name]["command"]
    record = codec.decode(command, payload)
    assert record.trailing == b""
    assert codec.encode(record) == payload
    assert "B of MWEB data not read" in record.summary()
    assert codec.decode(command, codec.encode(record)) == record


@pytest.mark.parametrize("name", ["pegin", "mweb only"])
def test_ids_do_not_cover_mweb_data(codec, name):
    """They are those of the node; of what happens in the extension block alone none is known."""
    record = codec.decode("tx", payload_of(name))
    shown = record.to_dict()
    assert (shown["txid"], shown["wtxid"]) == (VECTORS[name]["txid"], VECTORS[name]["wtxid"])
    assert shown["mweb"] == record.mweb.hex()
    assert payload_of(name)[:-4].endswith(record.mweb)


def test_a_block_has_an_extension_block_after_its_last_transaction(codec):
    """That one (HogEx) has no data of its own: one byte 00, of which its id knows nothing."""
    name = "first block with an extension block"
    record = codec.decode("block", payload_of(name))
    assert display(record.header.hash) == VECTORS[name]["hash"]
    assert [each.mweb for each in record.transactions] == [None, None, b"\0"]
    assert display(record.transactions[1].txid) == VECTORS["pegin"]["txid"]
    assert display(record.transactions[1].wtxid) == VECTORS["pegin"]["wtxid"]
    assert len(record.mweb) == 2100
    assert payload_of(name).endswith(record.mweb)


def test_a_transaction_without_mweb_is_like_one_of_bitcoin(codec):
    """It has no key of its own either."""
    [_, tx, _] = codec.decode(
        "block", payload_of("first block with an extension block")
    ).transactions
    assert "mweb" not in tx.to_dict()
    assert wire.Codec(BITCOIN).decode("tx", codec.encode(tx)) == tx


def test_other_chains_have_no_such_flag(codec):
    """On Bitcoin flag 08 is refused as before; and what has MWEB data cannot be sent there."""
    for engine in ENGINES:
        bitcoin = wire.Codec(BITCOIN, engine=engine)
        with pytest.raises(wire.BadPayload, match="marker is 08, not 01"):
            bitcoin.decode("tx", payload_of("mweb only"))
        record = codec.decode("tx", payload_of("mweb only"))
        with pytest.raises(wire.BadRecord, match="mweb: cannot be sent: on chains with mweb"):
            bitcoin.encode(record)


@pytest.mark.parametrize("flag", [0, 2, 4, 10, 11, 12, 16, 24, 255])
def test_other_flags_are_refused(codec, flag):
    """Nobody knows what stands there."""
    payload = bytearray(payload_of("pegin"))
    payload[5] = flag
    with pytest.raises(wire.BadPayload, match=f"is {flag:02x}, not 01, 08 or 09"):
        codec.decode("tx", bytes(payload))


@pytest.mark.parametrize("name", VECTORS)
def test_both_engines_say_the_same_of_what_is_cut(name):
    """Value, refusal, place and words."""
    payload, command = payload_of(name), VECTORS[name]["command"]
    codecs = [wire.Codec(LITECOIN, engine=engine) for engine in ENGINES]
    for size in {*range(min(len(payload), 700)), *range(len(payload) - 20, len(payload))}:
        assert len({_outcome(codec, command, payload[:size]) for codec in codecs}) == 1


@given(
    st.binary(min_size=1, max_size=200).map(lambda data: b"\1" + data) | st.just(b"\0"),
    st.booleans(),
    st.booleans(),
)
def test_any_data_come_back(data, with_witness, with_outputs):
    """With each combination of what else a transaction may have."""
    tx = wire.Codec(LITECOIN).decode("tx", payload_of("pegin"))
    inputs = tx.inputs if with_witness else ()
    outputs = tx.outputs if with_outputs else ()
    changed = msgspec.structs.replace(tx, inputs=inputs, outputs=outputs, mweb=data)
    made = {wire.Codec(LITECOIN, engine=engine).encode(changed) for engine in ENGINES}
    assert len(made) == 1
    for engine in ENGINES:
        assert wire.Codec(LITECOIN, engine=engine).decode("tx", *made) == changed


@pytest.mark.parametrize("wrong", [b"", "text", 8])
def test_what_is_not_data_cannot_be_sent(codec, wrong):
    """By either engine, in the same words."""
    tx = msgspec.structs.replace(codec.decode("tx", payload_of("pegin")), mweb=wrong)
    with pytest.raises(wire.BadRecord, match="mweb: .* is not one byte or more"):
        codec.encode(tx)


def test_its_own_commands_are_known():
    """They pass unread, and are no mistake."""
    from lbcproxy.wire.registry import OPAQUE

    assert {"mwebheader", "mwebleafset", "getmwebutxos", "mwebutxos"} <= OPAQUE.keys()


def _outcome(codec: wire.Codec, command: str, payload: bytes) -> str:
    try:
        return repr(codec.decode(command, payload))
    except wire.BadPayload as error:
        return str(error)

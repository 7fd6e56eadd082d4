"""What is read of a payload before the field that is wrong: the same by both engines, and true."""

import random
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from construct import Container

from lbcproxy import networks, wire
from lbcproxy.wire.fields import COMPACT_SIZE, Many
from lbcproxy.wire.messages.keepalive import Ping
from lbcproxy.wire.messages.reject import Reject
from lbcproxy.wire.messages.transactions import Tx
from lbcproxy.wire.partial import NotRead, Partial
from tests.engines import BOTH, as_values, require_native
from tests.vector_files import load, payload_of

CUTS = 40
"""Prefixes of each payload; of a short one all."""
LONG = 20_000


def codecs(vector: dict[str, Any]) -> dict[str, wire.Codec]:
    encoding = vector.get("encoding", "witness")
    network = networks.get(vector["network"])
    return {each: wire.Codec(network, vector["pver"], encoding, each) for each in BOTH}


def readable(codec: wire.Codec, command: str, payload: bytes) -> bool:
    try:
        codec.decode(command, payload)
    except wire.BadPayload:
        return False
    return True


def test_both_engines_read_the_same_of_every_bad_vector(count):
    """The reference says what was read; the native engine, which keeps nothing else, agrees."""
    require_native()
    for vector in load("bad_vectors"):
        if vector["level"] != "payload":
            continue
        payload = payload_of(vector)
        found = [each.partial(vector["command"], payload) for each in codecs(vector).values()]
        assert as_values(found[0]) == as_values(found[1]), vector["id"]
        if found[0] is not None:
            count("bad vectors of which both engines read the same fields")
            assert found[0].summary() or found[0].kind is Ping
            assert found[0].to_dict() == found[1].to_dict()


def cut_vectors() -> Iterator[tuple[dict[str, Any], wire.Codec, wire.Codec, bytes, int]]:
    chance = random.Random("cuts")
    for vector in load("vectors"):
        payload = payload_of(vector)
        pair = codecs(vector)
        if (
            not payload
            or len(payload) > LONG
            or not readable(pair["construct"], vector["command"], payload)
        ):
            continue
        cuts = range(len(payload))
        for cut in cuts if len(cuts) <= CUTS else chance.sample(cuts, CUTS):
            yield vector, pair["construct"], pair["native"], payload, cut


@pytest.mark.slow
def test_both_engines_read_the_same_of_every_prefix(count):
    """Wherever a payload ends."""
    require_native()
    for vector, construct, native, payload, cut in cut_vectors():
        one = construct.partial(vector["command"], payload[:cut])
        other = native.partial(vector["command"], payload[:cut])
        assert as_values(one) == as_values(other), (vector["id"], cut)
        count("prefixes of which both engines read the same fields")


def ends_of(record: Any, codec: wire.Codec) -> dict[str, tuple[int, list[int]]]:
    """Return where each field ends in the payload of a record, and each element of a list."""
    stream, found = BytesIO(), {}
    root = Container(params=codec.params)
    root._params = root
    context = Container(_=root, _params=root)
    for name, field in type(record).schema.fields.items():
        value = getattr(record, name)
        context[name] = value
        elements = []
        if isinstance(field, Many):
            COMPACT_SIZE._build(len(value), stream, context, "")
            for each in value:
                field.subcon._build(each, stream, context, "")
                elements.append(stream.tell())
        else:
            field._build(value, stream, context, "")
        found[name] = (stream.tell(), elements)
    return found


@pytest.mark.slow
def test_a_prefix_has_the_fields_that_lie_wholly_before_the_cut(count):
    """No less and no more; of a list the elements that do."""
    for vector, codec, _, payload, cut in cut_vectors():
        command = vector["command"]
        record = codec.decode(command, payload)
        if isinstance(record, Tx) or codec.protocol_version < record.since:
            continue
        if readable(codec, command, payload[:cut]):
            continue  # what is missing may be missing
        partial = codec.partial(command, payload[:cut]) or {}
        for name, (end, elements) in ends_of(record, codec).items():
            whole = sum(each <= cut for each in elements)
            if end <= cut and (partial.keys() >= {name} or cut > 0):
                if name in partial:
                    assert partial[name] == getattr(record, name), (vector["id"], cut, name)
                else:  # nothing was read of it: it is absent, after what is cut
                    assert getattr(record, name) is None
            elif elements:
                assert partial.get(name, ()) == getattr(record, name)[:whole]
            elif isinstance(partial.get(name), Partial):
                read = {key: getattr(getattr(record, name), key) for key in partial[name]}
                assert dict(partial[name]) == read
            else:
                assert name not in partial
        count("prefixes that have just the fields before the cut")


@pytest.mark.parametrize("engine", BOTH)
def test_a_cut_transaction_has_what_was_read(engine):
    """Inputs whose witness was not read are there without it."""
    require_native()
    vector = next(
        each
        for each in load("vectors")
        if each["command"] == "tx"
        and payload_of(each)[4:6] == b"\0\1"
        and len(each["fields"]["inputs"]) > 1
        and each.get("encoding", "witness") == "witness"
    )
    payload = payload_of(vector)
    codec = codecs(vector)[engine]
    whole = codec.decode("tx", payload)
    seen = set()
    for cut in range(4, len(payload)):
        partial = codec.partial("tx", payload[:cut])
        assert partial.version == whole.version
        seen |= {*partial}
        for read, wanted in zip(partial.get("inputs", ()), whole.inputs, strict=False):
            if isinstance(read, Partial):
                assert set(read) == {"prev_hash", "prev_index", "script_sig", "sequence"}
                assert all(read[name] == getattr(wanted, name) for name in read)
            else:
                assert read == wanted
        assert partial.get("outputs", ()) == whole.outputs[: len(partial.get("outputs", ()))]
    assert seen == {"version", "inputs", "outputs"}
    assert partial.inputs == whole.inputs
    assert partial.outputs == whole.outputs


def test_a_partial_record_is_asked_as_a_record_is():
    """Plugins need not know two ways."""
    codec = wire.Codec(networks.get("lbry-regtest"))
    payload = codec.encode(Reject(b"tx", 0x10, b"dust", bytes(32)))
    partial = codec.partial("reject", payload[:-1])
    assert (partial.message, partial.code, partial["reason"]) == (b"tx", 0x10, b"dust")
    assert partial.get("hash") is None
    assert getattr(partial, "hash", 7) == 7
    with pytest.raises(NotRead, match="'hash' was not read"):
        partial.hash  # noqa: B018
    assert partial.to_dict() == {
        "message": "tx",
        "message_hex": "7478",
        "code": 0x10,
        "reason": "dust",
        "reason_hex": b"dust".hex(),
    }
    assert partial.summary() == "cmd tx, code REJECT_INVALID, reason dust"
    assert codec.partial("reject", payload[:4]).summary() == "message tx, code 16"
    assert codec.partial("reject", b"") is None
    assert codec.partial("nobody", b"abc") is None


def test_what_is_below_its_version_is_read_beside_the_note():
    """Whether two nodes agree on a version too low is just what one looks for."""
    codec = wire.Codec(networks.get("lbry-regtest"), 60000)
    payload = wire.Codec(networks.get("lbry-regtest")).encode(Reject(b"version", 0x11, b"old"))
    with pytest.raises(wire.BadPayload, match="needs protocol version 70002"):
        codec.decode("reject", payload)
    partial = codec.partial("reject", payload + b"xy")
    assert (partial.reason, partial.trailing) == (b"old", b"xy")
    assert partial.summary() == "cmd version, code REJECT_OBSOLETE, reason old"


def test_a_summary_does_not_say_that_what_was_not_read_is_not_there():
    """A version that ends too early may have had a user agent."""
    codec = wire.Codec(networks.get("lbry-regtest"))
    partial = codec.partial("version", bytes.fromhex("7f110100 0100000000000000 0000"))
    assert partial.summary() == "version 70015, services 1"


def test_a_summary_has_the_first_few_fields():
    """A line in a terminal is short; `-V` shows the rest."""
    codec = wire.Codec(networks.get("bitcoin-regtest"))
    partial = codec.partial("version", bytes.fromhex("7f110100") + bytes(76) + b"\x04")
    assert list(partial)[4:] == ["addr_from", "nonce"]
    assert partial.summary().startswith("version 70015, services 0, timestamp 0, addr_recv (")
    assert partial.summary().endswith(", addr_from (services 0, ip ::, port 0)")


def test_what_is_too_long_is_not_read():
    """Its length is refused before anything is made of it."""
    codec = wire.Codec(networks.get("lbry-regtest"))
    assert codec.partial("ping", bytes(40_000_000)) is None

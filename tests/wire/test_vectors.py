"""The vectors: what lbcd, btcd, rust-bitcoin and Core make of some 3,300 payloads and streams."""

import hashlib
from typing import Any

import pytest

from lbcproxy import networks, wire
from lbcproxy.wire.engine import ENGINES
from tests.engines import same_plain
from tests.vector_files import load, payload_of, without_people

GOOD = load("vectors")
BAD_PAYLOADS = [vector for vector in load("bad_vectors") if vector["level"] == "payload"]
STREAMS = [vector for vector in load("bad_vectors") if vector["level"] == "stream"]

EITHER_IS_FINE = "bad/addrv2/rs-m-0109"  # Tor v2 with a wrong length: Core skips, BIP155 rejects


def codec_of(vector: dict[str, Any]) -> wire.Codec:
    network = networks.get(vector["network"])
    return wire.Codec(network, vector["pver"], vector["encoding"])


def ids(vectors: list[dict[str, Any]]) -> list[str]:
    return [vector["id"] for vector in vectors]


SHORT = 2_000


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("command", sorted({vector["command"] for vector in GOOD}))
def test_short_good_vectors_of_a_command_are_read_and_written_as_by_the_reference(command, engine):
    """The next test in less than a second, by each engine: it is always run."""
    for vector in GOOD:
        payload = payload_of(vector)
        if vector["command"] != command or len(payload) > SHORT:
            continue
        network = networks.get(vector["network"])
        codec = wire.Codec(network, vector["pver"], vector["encoding"], engine)
        record = codec.decode(command, payload)
        if vector["fields"] is not None:
            assert without_people(record.to_dict()) == without_people(vector["fields"])
        same_plain(record)
        if vector["canonical"]:
            assert codec.encode(record) == payload
        else:
            assert_reencodes_as_documented(vector, codec.encode(record), payload)


@pytest.mark.slow
@pytest.mark.parametrize("vector", GOOD, ids=ids(GOOD))
def test_good_vector_decodes_to_its_fields_and_encodes_to_its_bytes(vector, count):
    """The reference's reading of its own bytes is the yardstick of the codec."""
    codec = codec_of(vector)
    payload = payload_of(vector)
    assert len(payload) == vector.get("payload_len", len(payload))
    if "payload_sha256" in vector:
        assert hashlib.sha256(payload).hexdigest() == vector["payload_sha256"]
    record = codec.decode(vector["command"], payload)
    fields = record.to_dict()
    if vector["fields"] is not None:
        assert without_people(fields) == without_people(vector["fields"])
    if vector["canonical"]:
        assert codec.encode(record) == payload
        count("good vectors: fields equal, bytes equal after encoding")
    else:
        assert_reencodes_as_documented(vector, codec.encode(record), payload)
        count("good vectors: fields equal, not canonical")


def assert_reencodes_as_documented(vector, encoded, payload):
    """Of what the references do not encode again, only an odd relay byte is lost here."""
    if "odd" in (vector.get("note") or "") or vector["id"].endswith("cut5"):
        assert vector["command"] == "version"
        assert payload[-1] > 1
        assert encoded == payload[:-1] + b"\1"
    else:
        assert encoded == payload


@pytest.mark.parametrize("vector", BAD_PAYLOADS, ids=ids(BAD_PAYLOADS))
def test_bad_payload_gets_the_verdict_of_the_reference(vector, count):
    """A codec that is laxer or stricter than the nodes misleads who debugs them."""
    if vector["id"] == EITHER_IS_FINE:
        return
    command, codec = vector["command"], codec_of(vector)
    if vector["class"] == "unknown-command":
        assert_unknown_unless_recorded(command, codec, payload_of(vector))
        count("payload verdicts: unknown command")
    elif accepted(vector):
        record = codec.decode(command, payload_of(vector))
        assert len(record.trailing) == vector.get("trailing_bytes", len(record.trailing))
        if vector.get("fields"):
            assert without_people(record.to_dict()) == without_people(vector["fields"])
        count("payload verdicts: accepted")
    else:
        with pytest.raises(wire.BadPayload) as caught:
            codec.decode(command, payload_of(vector))
        assert caught.value.what
        assert 0 <= caught.value.offset <= len(payload_of(vector))
        count("payload verdicts: refused, with the reason in words")


def accepted(vector: dict[str, Any]) -> bool:
    reader = vector.get("message")
    return vector["verdict"] == "accept" and (reader is None or reader["accepted"])


def assert_unknown_unless_recorded(command: str, codec: wire.Codec, payload: bytes) -> None:
    if wire.record_of(command) is None:
        with pytest.raises(wire.UnknownCommand):
            codec.decode(command, payload)


@pytest.mark.parametrize("vector", STREAMS, ids=ids(STREAMS))
def test_stream_gives_values_and_the_reference_verdict(vector, count):
    """The framer raises nothing: what a node refuses is a value with its reason."""
    network = networks.get(vector["network"])
    stream = bytes.fromhex(vector["stream_hex"])
    framer = wire.Framer(network)
    items = framer.feed(stream) + framer.close()
    assert b"".join(item.raw for item in items) == stream
    first = items[0] if items else None
    sound = isinstance(first, wire.Frame) and first.error is None
    if sound:
        try:
            wire.Codec(network).decode(first.command, first.payload)
        except wire.BadPayload:
            sound = False
    assert sound is (vector["verdict"] == "accept")
    if vector["class"] in ("command", "bad-checksum"):
        assert isinstance(first, wire.Frame)
        assert first.error
    count("streams")

"""The native engine beside the construct engine: the same values, refusals, words and bytes."""

import gc
import random
from typing import Annotated, Any, ClassVar

import construct
import msgspec
import pytest
from construct import Byte, Bytes, Int8ul, Int16ub, Int32ul, Prefixed, this
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lbcproxy import networks, wire
from lbcproxy.wire import engine, registry
from lbcproxy.wire.fields import Hash, Many, UInt8, UInt32, VarBytes
from lbcproxy.wire.messages.bloom import FilterLoad
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import Ping
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from lbcproxy.wire.optional import OptionalTail, When
from lbcproxy.wire.record import Layout, MessageRecord, Record, at_most
from lbcproxy.wire.rules import ByVersion, Params
from tests.engines import FAMILIES, VERSIONS, Index, Pair, mutated, require_native, spoiled
from tests.memory import held_after, most
from tests.strategies import records
from tests.vector_files import load, payload_of

LBRY = networks.get("lbry-mainnet")
SHORT = 600
"""Bytes of a vector that is cut at each of them."""


@pytest.fixture(autouse=True)
def _native():
    require_native()


def vectors(command: str) -> list[dict[str, Any]]:
    """Return every payload there is of a command, good and bad, each once."""
    found = {}
    for vector in (*load("vectors"), *load("bad_vectors")):
        if vector.get("level") != "stream" and vector["command"] == command:
            rules = networks.get(vector["network"]).rules
            key = (payload_of(vector), rules, vector["pver"], vector["encoding"])
            found.setdefault(key, vector)
    return list(found.values())


def pair_of(vector: dict[str, Any]) -> Pair:
    return Pair(vector["network"], vector["pver"], vector["encoding"])


@pytest.mark.slow
@pytest.mark.parametrize("command", wire.commands())
def test_vectors_are_the_same_to_both(command, count):
    """Values, and what is written again; or words, place and offset of the refusal."""
    for vector in vectors(command):
        pair = pair_of(vector)
        record = pair.read(command, payload_of(vector))
        if isinstance(record, MessageRecord):
            pair.write(record)
        count("vectors through both engines")


@pytest.mark.slow
@pytest.mark.parametrize("command", wire.commands())
def test_cut_vectors_are_the_same_to_both(command, count):
    """Short ones cut at every byte; long ones near both ends and in a few other places."""
    source = random.Random(6)
    for vector in vectors(command):
        payload = payload_of(vector)
        size = len(payload)
        places = range(size)
        if size > SHORT:
            some = 40 if size < 20_000 else 4
            places = sorted({*range(some), *(size - each for each in range(1, 5))})
            places += [source.randrange(size) for _ in range(some // 4)]
        pair = pair_of(vector)
        for place in places:
            pair.read(command, payload[:place])
            count("cut vectors through both engines")


@pytest.mark.slow
@pytest.mark.parametrize("network", FAMILIES)
@pytest.mark.parametrize("command", wire.commands())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_values_and_mutated_bytes_are_the_same_to_both(network, command, data):
    """At every version and in both encodings; with records that are wrong somewhere, too."""
    record = wire.record_of(command)
    version = data.draw(st.sampled_from([each for each in VERSIONS if each >= record.since]))
    pair = Pair(network, version, data.draw(st.sampled_from(("base", "witness", "auto"))))
    value = data.draw(records(record, pair.construct.params))
    source = random.Random(data.draw(st.integers(0, 2**32)))
    payload = pair.write(value)
    for _ in range(4):
        pair.write(spoiled(value, source))
        if isinstance(payload, bytes):
            read = pair.read(command, mutated(payload, source))
            if isinstance(read, MessageRecord):
                pair.write(read)


def test_no_message_of_ours_needs_construct():
    """A new kind of field has a node beside it."""
    for network in FAMILIES:
        for version in VERSIONS:
            params = wire.Codec(networks.get(network), version).params
            for command in wire.commands():
                assert not engine.tree_of(wire.record_of(command), params).foreign, command


def test_versions_that_peers_claim_make_no_trees():
    """What a peer may choose must not fill the memory."""
    for version in range(70_016, 71_016):
        wire.Codec(LBRY, version, engine="native").decode("ping", bytes(8))
    kept = engine._tree.cache_info().currsize
    for version in (*range(71_016, 72_016), 2**31 - 1, 60_001, 60_002):
        wire.Codec(LBRY, version, engine="native").decode("ping", bytes(8))
    assert engine._tree.cache_info().currsize == kept


def test_a_claimed_count_costs_no_memory():
    """2^25 entries with three bytes left are refused at the first that is missing."""
    codec = wire.Codec(LBRY, engine="native")
    record = codec.decode("cfcheckpt", bytes(33) + b"\0")
    limit = type(record).schema.fields["filter_headers"].limit

    def refuse():
        with pytest.raises(wire.BadPayload) as count:
            codec.decode("cfcheckpt", bytes(33) + b"\xfe" + limit.to_bytes(4, "little") + b"123")
        with pytest.raises(wire.BadPayload, match=r"inputs\[0\].prev_hash at byte 9: 32 bytes"):
            wire.Codec(LBRY, encoding="base", engine="native").decode(
                "tx", bytes(4) + b"\xfe" + (800_000).to_bytes(4, "little") + b"123"
            )
        caught.append(count.value)

    caught = []
    assert most(refuse) < 100_000
    [error] = caught
    assert (error.where, error.what) == (
        "filter_headers[0]",
        "32 bytes needed, 3 left",
    )


@pytest.mark.slow
def test_memory_stays_flat():
    """Over reading and writing, good and bad; a long run is for script/fuzz."""
    source = random.Random(7)
    cases = []
    for command in wire.commands():
        for vector in vectors(command)[:12]:
            payload = payload_of(vector)
            if len(payload) < 2000:
                codec = wire.Codec(
                    networks.get(vector["network"]), vector["pver"], vector["encoding"], "native"
                )
                cases += [(codec, command, payload), (codec, command, payload[:-1])]
                cases += [(codec, command, mutated(payload, source))]

    def run(times: int) -> None:
        for _ in range(times):
            for codec, command, payload in cases:
                try:
                    record = codec.decode(command, payload)
                    codec.encode(record)
                    codec.encode(msgspec.structs.replace(record, trailing=None))
                except (wire.BadPayload, wire.BadRecord):
                    pass

    run(3)
    held = held_after(map(run, (1, 12)), 1, 2)
    assert held[1] - held[0] < 2_000


def test_records_that_went_through_are_not_held():
    """Neither by a tree nor by an error."""
    codec = wire.Codec(LBRY, engine="native")
    tx = Tx(1, (TxIn(bytes(32), 0, b"\1", 0, (b"w",)),), (TxOut(1, b"\2"),), 0)
    payload = codec.encode(tx)
    first = codec.decode("tx", payload)
    assert first == tx
    assert not gc.get_referrers(first.inputs[0]) or all(
        each is first.inputs for each in gc.get_referrers(first.inputs[0])
    )


class Sub(InventoryVector, frozen=True, gc=False):
    """A record of a user's that is a kind of ours."""


@pytest.mark.parametrize(
    "record",
    [
        Inv([InventoryVector(1, bytes(32))]),
        Inv((Sub(1, bytes(32)), InventoryVector(2, bytes(32)))),
        Inv((Sub(1, b"short"),)),
        Inv(inventory={1: 2}),
        Ping(True),
        Ping(1.5),
        FilterLoad(b"", Index(), 0, 0),
        Tx(1, [TxIn(bytes(32), 0, b"", 0, (b"w",))], [], 0),
        Tx(1, (TxIn(bytes(32), 0, b"", 0, 5),), (), 0),
        Tx(1, (TxIn(bytes(32), 0, b"", 0, "text"),), (), 0),
        Tx(1, (TxIn(bytes(32), 0, b"", 0, None),), (), 0),
        Tx(1, "text", (), 0),
        Tx(1, None, (), 0),
    ],
    ids=repr,
)
def test_records_that_are_nearly_right_are_the_same_to_both(record):
    """Lists, subclasses and numbers that Python takes for one another."""
    Pair("lbry-mainnet").write(record)


class Entry(Record, frozen=True, gc=False):
    """A record whose field looks at its neighbour and at the record around it."""

    size: UInt8
    body: Annotated[bytes, Bytes(this.size)]
    outer: Annotated[bytes, Bytes(this._.wide)]


class Mixed(MessageRecord, frozen=True, gc=False):
    """A user's message with fields that have no node between ones that have."""

    command: ClassVar[str] = "x-mixed"

    wide: UInt8
    entries: Annotated[tuple[Entry, ...], at_most(5)]
    place: Annotated[int, construct.Tell]
    hash: Hash
    words: Annotated[tuple[bytes, ...], Many(Prefixed(Byte, construct.GreedyBytes), 4)]
    kind: Annotated[bytes, VarBytes(4)]
    three: Annotated[int, construct.Int24ub]
    more: Annotated[int | None, When("kind", (b"tx",), construct.VarInt)]
    numbers: Annotated[tuple[int, ...], Many(Int16ub, ByVersion(((0, 2), (70001, 3))))]
    padded: Annotated[bytes, construct.Padded(4, Bytes(2))]
    tail: Annotated[int | None, OptionalTail(Int32ul)] = None
    last: Annotated[bytes | None, OptionalTail(Prefixed(Int8ul, construct.GreedyBytes))] = None

    def check(self) -> None:
        """Refuse one value."""
        if self.wide == 9:
            raise wire.errors.FieldError("nine")


@pytest.fixture
def mixed():
    """Have the message for one test."""
    registry.register(Mixed)
    yield Mixed
    registry._records().pop("x-mixed")


def mixed_value(source: random.Random) -> Mixed:
    wide = source.choice((0, 2, 9))
    sizes = [source.randint(0, 3) for _ in range(source.randint(0, 3))]
    kind = source.choice((b"tx", b"", b"abcd"))
    return Mixed(
        wide,
        tuple(Entry(size, source.randbytes(size), source.randbytes(wide)) for size in sizes),
        None,
        source.randbytes(32),
        tuple(source.randbytes(source.randint(0, 3)) for _ in range(source.randint(0, 3))),
        kind,
        source.randint(0, 2**24 - 1),
        300 if kind == b"tx" else None,
        tuple(source.randint(0, 9) for _ in range(source.randint(0, 3))),
        source.randbytes(2),
        *source.choice(((), (1,), (1, b"ab"), (None, b"x"))),
    )


@pytest.mark.parametrize("version", [60000, 70001])
def test_a_users_message_may_use_what_has_no_node(mixed, version, count):
    """Construct does those fields; the bytes and words are what construct alone would give."""
    source = random.Random(3)
    pair = Pair("lbry-mainnet", version)
    assert engine.tree_of(mixed, pair.native.params).foreign
    for _ in range(300):
        value = mixed_value(source)
        payload = pair.write(value)
        pair.write(spoiled(value, source))
        if isinstance(payload, bytes):
            assert isinstance(pair.read("x-mixed", payload), Mixed)
            for _ in range(5):
                read = pair.read("x-mixed", mutated(payload, source))
                count("a message with foreign fields through both engines")
                if isinstance(read, Mixed):
                    pair.write(read)


class Backwards(Layout):
    """A layout of a user's own, which says nothing of its bytes that a node could know."""

    def _parse(self, stream, context, path):
        values = [field._parsereport(stream, context, path) for field in self.fields.values()]
        return self.record(*reversed(values))

    def _build(self, obj, stream, context, path):
        for field, value in zip(
            self.fields.values(), reversed(msgspec.structs.astuple(obj)), strict=True
        ):
            field._build(value, stream, context, path)


def test_a_layout_of_a_users_own_is_left_to_construct():
    """Only what is exactly ours has a node."""

    class Turned(Record, frozen=True, gc=False):
        layout: ClassVar[type[Layout]] = Backwards

        first: UInt8
        second: UInt8

    class Whole(Record, frozen=True, gc=False):
        before: UInt32
        turned: tuple[Turned, ...]
        behind: UInt8

    params = Params(LBRY.rules, 70016, witness=True)
    tree = engine._tree.__wrapped__(Whole, params)
    whole = Whole(7, (Turned(1, 2), Turned(3, 4)), 5)
    assert tree.foreign
    assert tree.encode(whole, params) == b"\7\0\0\0\2\2\1\4\3\5"
    assert tree.decode(b"\7\0\0\0\2\2\1\4\3\5", params) == (whole, 10)


def test_a_hook_on_a_field_is_called():
    """Construct's `parsed`, which no node knows."""
    seen = []
    field = construct.Int8ul * (lambda value, context: seen.append((value, context._params.params)))

    class Hooked(Record, frozen=True, gc=False):
        first: Annotated[int, field]
        second: UInt32

    params = Params(LBRY.rules, 70016, witness=True)
    tree = engine._tree.__wrapped__(Hooked, params)
    assert tree.decode(b"\5\1\0\0\0", params) == (Hooked(5, 1), 5)
    assert seen == [(5, params)]


@pytest.mark.parametrize(
    "field",
    [
        *(construct.Int8sb, construct.Int8ub, construct.Int16sl, construct.Int16ul),
        *(construct.Int16sb, construct.Int32sb, construct.Int32ub, construct.Int32un),
        *(construct.Int64sb, construct.Int64ub, construct.Int64sn, construct.Int64ul),
        *(construct.Int32sl, construct.Int64sl, construct.Int32ul, construct.Flag),
        *(construct.Float64b, construct.Int24sl, construct.FormatField("<", "?")),
    ],
    ids=lambda field: getattr(field, "fmtstr", type(field).__name__),
)
def test_numbers_of_every_size_and_order(field):
    """Also those that no message of ours has."""

    class One(Record, frozen=True, gc=False):
        value: Annotated[Any, field]

    params = Params(LBRY.rules, 70016, witness=True)
    tree = engine._tree.__wrapped__(One, params)
    source = random.Random(2)
    size = field.sizeof()
    for raw in (
        bytes(size),
        b"\xff" * size,
        b"\x80" + bytes(size - 1),
        *map(source.randbytes, [size] * 50),
    ):
        value = field.parse(raw)
        made, used = tree.decode(raw, params)
        assert used == size
        if value == value:  # no NaN
            assert made == One(value)
            assert type(made.value) is type(value)
        assert tree.encode(made, params) == field.build(value)
    for bits in (7, 8, 15, 16, 31, 32, 63, 64):
        for value in (1 << bits, (1 << bits) - 1, -(1 << bits), -(1 << bits) - 1):
            try:
                expected = field.build(value)
            except construct.ConstructError:
                with pytest.raises(construct.ConstructError):
                    tree.encode(One(value), params)
            else:
                assert tree.encode(One(value), params) == expected

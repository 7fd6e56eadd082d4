"""The steps that write a record which is exactly as declared (`_write.h`), beside construct."""

import random
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import msgspec
import pytest
from construct import Flag, FormatField, Int32ul
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lbcproxy import networks, wire
from lbcproxy.wire import engine
from lbcproxy.wire.fields import CompactInt, Fixed, Hash, Many, Port, UInt8, UInt32, VarBytes
from lbcproxy.wire.messages.inventory import Inv, InventoryVector
from lbcproxy.wire.messages.keepalive import Ping
from lbcproxy.wire.messages.transactions import Tx, TxIn, TxOut
from lbcproxy.wire.optional import IfChain, Since
from lbcproxy.wire.record import Record, build
from lbcproxy.wire.rules import Params
from tests.engines import (
    FAMILIES,
    VERSIONS,
    WRONG,
    Bytes,
    Int,
    Pair,
    Tuple,
    require_native,
    spoiled,
)
from tests.memory import held_after
from tests.strategies import records
from tests.vector_files import load, payload_of

LBRY = networks.get("lbry-mainnet")
PARAMS = Params(LBRY.rules, 70016, witness=True)
LARGEST = 600
"""Bytes of a vector that is spoiled at each of its places."""
BY_NODES = {"version", "reject", "addrv2"}
"""The messages with a field that looks at its neighbours, or with a check of each entry."""


@pytest.fixture(autouse=True)
def _native():
    require_native()


def tree_of(record: type[Record], params: Params = PARAMS) -> Any:
    return engine._tree.__wrapped__(record, params)


def same_as_construct(tree: Any, record: Any, params: Params = PARAMS) -> bytes | None:
    """Return what the steps write; that is what construct writes, or nothing."""
    made = tree.by_steps(record)
    try:
        expected = build(type(record).schema, record, params)
    except Exception:
        expected = None
    if expected is None:
        assert made is None
        with pytest.raises(Exception):  # noqa: B017, PT011  # any: construct's own, too
            tree.encode(record, params)
    else:
        assert made is None or (type(made) is bytes and made == expected)
        assert tree.encode(record, params) == expected
    return made


@pytest.mark.slow
@pytest.mark.parametrize("network", FAMILIES)
@pytest.mark.parametrize("command", wire.commands())
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_records_as_declared_are_written_by_steps(network, command, data):
    """Those of every message but three; at every version, in both encodings."""
    record = wire.record_of(command)
    version = data.draw(st.sampled_from([each for each in VERSIONS if each >= record.since]))
    params = Params(networks.get(network).rules, version, data.draw(st.booleans()))
    value = data.draw(records(record, params))
    tree = engine.tree_of(record, params)
    made = tree.by_steps(value)
    assert (made is None) == (command in BY_NODES)
    assert tree.encode(value, params) == build(record.schema, value, params)
    assert made is None or made == build(record.schema, value, params)
    source = random.Random(data.draw(st.integers(0, 2**32)))
    for _ in range(4):
        wrong = spoiled(value, source)
        made = tree.by_steps(wrong)
        if made is not None and isinstance(wrong, record):
            fields = {**vars_of(wrong), "trailing": b""}
            assert made == bytes_of_fields(record, fields, params)


def vars_of(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def bytes_of_fields(record: type[Record], fields: dict[str, Any], params: Params) -> bytes:
    """Write a record with construct, whatever its own check says: the steps do not run that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "check", Record.check)
        return build(record.schema, record(**fields), params)


def variants(value: Any) -> Iterator[Any]:
    """Return a record again and again, each time with something else at one of its places."""
    if isinstance(value, Record):
        for name in value.__struct_fields__:
            inner = getattr(value, name)
            for each in (*WRONG, *variants(inner)):
                yield msgspec.structs.replace(value, **{name: each})
    elif isinstance(value, tuple):
        yield from (list(value), Tuple(value), (*value, None), [*value, value])
        for place in sorted({0, len(value) - 1} if value else ()):
            for each in (*WRONG, *variants(value[place])):
                yield (*value[:place], each, *value[place + 1 :])
    elif type(value) is bytes:
        yield from (Bytes(value), bytearray(value), memoryview(value), value + b"\0", value[1:])
    elif type(value) is int:
        yield from (Int(value), float(value), str(value), ~value, value + 2**32, value + 2**64)


@pytest.mark.slow
@pytest.mark.parametrize("network", FAMILIES)
@pytest.mark.parametrize("command", wire.commands())
def test_a_wrong_value_at_every_place(network, command, count):
    """The words of both engines are the same."""
    pair = Pair(network)
    known = {}
    for vector in load("vectors"):
        if vector["command"] == command and len(payload_of(vector)) <= LARGEST:
            read = pair.read(command, payload_of(vector))
            if isinstance(read, Record):
                known[sum(1 for _ in variants(read))] = read
    assert known
    for record in variants(known[max(known)]):
        pair.write(record)
        count("values at a wrong place through both engines")


class Numbers(Record, frozen=True, gc=False):
    """Each number between bytes: what is stored of one must not be seen after it."""

    before: UInt8
    number: int
    behind: Annotated[bytes, Fixed(3)]


EDGES = sorted(
    {sign * (2**bit + more) for bit in range(67) for more in (-1, 0, 1) for sign in (1, -1)}
)


@pytest.mark.parametrize("code", "bBhHlLqQ")
@pytest.mark.parametrize("order", "<>")
def test_numbers_at_every_edge(order, code):
    """Of every width, signed or not, little and big endian."""

    class One(Record, frozen=True, gc=False):
        before: UInt8
        number: Annotated[int, FormatField(order, code)]
        behind: Annotated[bytes, Fixed(3)]

    tree = tree_of(One)
    written = [each for each in EDGES if same_as_construct(tree, One(7, each, b"abc"))]
    bits = 8 * FormatField(order, code).sizeof()
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if code.islower() else (0, 2**bits - 1)
    assert written == [each for each in EDGES if least <= each <= most]
    for value in (True, False, Int(1), 1.0, None, b"1", "1"):
        assert same_as_construct(tree, One(7, value, b"abc")) is None


@pytest.mark.slow
def test_compact_sizes_at_every_edge():
    """As values by themselves, and as the count of bytes and of entries."""

    class One(Record, frozen=True, gc=False):
        number: CompactInt
        behind: Annotated[bytes, Fixed(3)]

    class Held(Record, frozen=True, gc=False):
        held: Annotated[bytes, VarBytes(70_000)]
        stack: Annotated[tuple[bytes, ...], Many(VarBytes(70_000), 70_000)]
        entries: Annotated[tuple[int, ...], Many(FormatField("<", "H"), 70_000)]
        last: UInt32

    tree = tree_of(One)
    written = [each for each in EDGES if same_as_construct(tree, One(each, b"abc"))]
    assert written == [each for each in EDGES if 0 <= each < 2**64]
    tree = tree_of(Held)
    for size in (*range(300), 0xFFFE, 0xFFFF, 0x10000, 0x10001, 70_000, 70_001):
        good = size <= 70_000
        held = bytes(each & 0xFF for each in range(size))
        for record in (
            Held(held, (), (), 1),
            Held(b"", (held, b"", held), (), 1),
            Held(b"", (b"x",) * size, (), 1),
            Held(b"", (), (513,) * size, 1),
        ):
            assert (same_as_construct(tree, record) is not None) == good


def test_room_is_found_at_every_length():
    """A short one after a long one, and the reverse; at the edge of what is kept on the stack."""
    hash_ = bytes(range(32))
    pair = Pair("lbry-mainnet")
    source = random.Random(4)
    lengths = [*range(40), 500, 50_000, 3, 2000, 1]
    for length in lengths:
        pair.write(Inv((InventoryVector(2, hash_),) * length))
    for _ in range(300):
        outputs = tuple(
            TxOut(source.getrandbits(40), source.randbytes(source.choice((0, 3, 25, 253, 700))))
            for _ in range(source.randint(0, 12))
        )
        stack = tuple(source.randbytes(source.choice((0, 33, 71, 300))) for _ in range(3))
        witness = stack[: source.randint(0, 3)]
        inputs = (TxIn(hash_, 1, stack[0], 2, witness), TxIn(hash_, 1, b"", 2))
        tx = Tx(1, inputs, outputs, 5)
        assert isinstance(pair.write(tx), bytes)
        for params in (PARAMS, msgspec.structs.replace(PARAMS, witness=False)):
            assert same_as_construct(engine.tree_of(Tx, params), tx, params) is not None


def test_lists_are_written_as_they_are_now():
    """Lists stand for tuples, and may change between two writes."""
    tree = tree_of(Inv)
    entries = [InventoryVector(1, bytes(32))]
    record = Inv(entries)
    for _ in range(5):
        assert same_as_construct(tree, record) is not None
        entries.append(InventoryVector(len(entries), bytes(32)))
    entries[2] = None
    assert same_as_construct(tree, record) is None
    entries.clear()
    assert same_as_construct(tree, record) == b"\0"
    tree, items = tree_of(Tx), []
    tx = Tx(1, [TxIn(bytes(32), 0, b"", 0, []), TxIn(bytes(32), 0, b"", 0, items)], [], 0)
    for item in (b"a", b"", b"b" * 300, 5):
        made = same_as_construct(tree, tx)
        assert made is not None
        assert (made[4:6] == b"\0\1") == bool(items)
        items.append(item)
    assert same_as_construct(tree, tx) is None


class Longer(bytes):
    """Bytes that say they are more than they are."""

    def __len__(self) -> int:
        return super().__len__() + 1


class Turned(tuple):
    """A tuple that gives its entries from the last on."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return reversed(self)


class TurnedList(list):
    """The same of a list."""

    def __iter__(self) -> Iterator[Any]:
        return reversed(self)


def test_what_a_subclass_answers_counts():
    """Not what Python keeps of it: steps take nothing but what is exactly of a type."""
    pair, items = Pair("lbry-mainnet"), (b"first", b"second")
    tx_in = TxIn(bytes(32), 0, b"", 0)
    for kind in (Turned, TurnedList):
        entries = kind(InventoryVector(each, bytes(32)) for each in (1, 2))
        assert pair.write(Inv(entries))[1] == 2
        witness = pair.write(Tx(1, (msgspec.structs.replace(tx_in, witness=kind(items)),), (), 0))
        assert witness.index(b"second") < witness.index(b"first")
    assert pair.write(Tx(1, (), (TxOut(1, Longer(b"ab")),), 0))[14:17] == b"\3ab"
    pair.write(Inv((InventoryVector(1, Longer(bytes(31))),)))
    pair.write(Inv((InventoryVector(1, Longer(bytes(32))),)))


def test_what_holds_itself_is_refused():
    """No declaration leads back to its own record."""
    pair = Pair("lbry-mainnet")
    looped: list[Any] = []
    looped.append(looped)
    own = Inv(())
    msgspec.structs.force_setattr(own, "inventory", (own,))
    tx = Tx(1, (), (), 0)
    msgspec.structs.force_setattr(tx, "inputs", (tx,))
    tx_in = TxIn(bytes(32), 0, b"", 0)
    msgspec.structs.force_setattr(tx_in, "witness", (tx_in,))
    spent = Tx(1, (tx_in,), (), 0)
    for record in (own, tx, spent):
        with pytest.raises(wire.BadRecord):
            pair.native.encode(record)
        with pytest.raises(wire.BadRecord):
            pair.construct.encode(record)
    for record in (Inv(looped), Tx(1, looped, (), 0), Tx(1, (), looped, 0)):
        assert not isinstance(pair.write(record), bytes)
    # What refers to itself is never freed: records have no cycle collection.
    for record, name in ((own, "inventory"), (tx, "inputs"), (tx_in, "witness")):
        msgspec.structs.force_setattr(record, name, ())


def test_a_value_that_is_missing_altogether_is_refused():
    """As whoever deletes one from a record can have it."""
    pair = Pair("lbry-mainnet")
    ping, tx_in = Ping(5), TxIn(bytes(32), 0, b"", 0, (b"w",))
    Ping.nonce.__delete__(ping)
    TxIn.witness.__delete__(tx_in)
    for record in (ping, Tx(1, (tx_in,), (), 0)):
        found = pair.write(record)
        assert "AttributeError" in str(found) or "has no attribute" in str(found)


def nested(levels: int) -> tuple[Any, Any]:
    """Return a field of lists within lists, and a value for it."""
    field, value = Int32ul, 5
    for _ in range(levels):
        field, value = Many(field, 9), (value, value) if levels < 5 else (value,)
    return field, value


@pytest.mark.parametrize("levels", [1, 4, 15, 16, 40])
def test_deep_declarations_are_left_to_the_nodes(levels):
    """Sixteen lists and records inside one another are what the steps can go into."""
    field, value = nested(levels)

    class Deep(Record, frozen=True, gc=False):
        lists: Annotated[Any, field]
        last: UInt8

    made = same_as_construct(tree_of(Deep), Deep(value, 9))
    assert (made is not None) == (levels < 16)


class Checked(Record, frozen=True, gc=False):
    """A record that has something to say of its values."""

    number: UInt8

    def check(self) -> None:
        """Refuse one value."""
        if self.number == 9:
            raise wire.errors.FieldError("nine")


class Every(Record, frozen=True, gc=False):
    """Each kind of field that has steps."""

    kinds: ClassVar[int] = 9

    flag: Annotated[bool, Flag]
    port: Port
    hashes: tuple[Hash, ...]
    old: Annotated[int | None, Since(80000, Int32ul)]
    new: Annotated[int | None, Since(60000, Int32ul)]
    never: Annotated[int | None, Since(1, Since(80000, Int32ul))]
    claims: Annotated[bytes | None, IfChain("claim_trie", Fixed(600))]
    names: Annotated[tuple[bytes, ...], Many(VarBytes(5), 3)]


def test_a_check_is_run():
    """The root's after the steps; one within, by the nodes."""

    class Around(Record, frozen=True, gc=False):
        inner: Checked

    class Listed(Record, frozen=True, gc=False):
        inner: tuple[Checked, ...]

    for kind, wrap, by_steps in (
        (Checked, lambda each: each, True),
        (Around, Around, False),
        (Listed, lambda each: Listed((each,)), False),
    ):
        tree = tree_of(kind)
        assert (tree.by_steps(wrap(Checked(8))) is not None) == by_steps
        assert tree.encode(wrap(Checked(8)), PARAMS) == build(kind.schema, wrap(Checked(8)), PARAMS)
        with pytest.raises(wire.errors.FieldError, match="nine"):
            tree.encode(wrap(Checked(9)), PARAMS)


def test_every_kind_of_field_with_every_wrong_value():
    """Those too that no message of ours has so."""
    good = Every(True, 8333, (bytes(32),), None, 5, None, bytes(600), (b"a", b"bcdef"))
    never = msgspec.structs.replace(good, never=7)
    tree = tree_of(Every)
    assert tree.by_steps(good) is None  # a gate within a gate: the nodes know how to refuse
    assert not same_as_construct(tree, never)

    class Most(Record, frozen=True, gc=False):
        flag: Annotated[bool, Flag]
        port: Port
        hashes: tuple[Hash, ...]
        old: Annotated[int | None, Since(80000, Int32ul)]
        new: Annotated[int | None, Since(60000, Int32ul)]
        claims: Annotated[bytes | None, IfChain("claim_trie", Fixed(600))]
        names: Annotated[tuple[bytes, ...], Many(VarBytes(5), 3)]

    good = Most(True, 8333, (bytes(32),), None, 5, bytes(600), (b"a", b"bcdef"))
    tree = tree_of(Most)
    assert same_as_construct(tree, good) is not None
    for record in variants(good):
        same_as_construct(tree, record)


def test_what_is_begun_and_given_up_is_given_back():
    """The last entry is wrong, after the buffer has grown."""
    tree = tree_of(Inv)
    entry = InventoryVector(1, bytes(32))
    good, bad = Inv((entry,) * 5000), Inv((*(entry,) * 5000, None))

    def run(times: int) -> None:
        for _ in range(times):
            assert tree.by_steps(bad) is None
            assert len(tree.by_steps(good)) == 3 + 5000 * 36

    run(3)
    held = held_after(map(run, (1, 50)), 1, 2)
    assert held[1] - held[0] < 1000

"""What a filter sees of a message is what `to_dict` shows, for every message there is."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lbcproxy import networks
from lbcproxy.filters import parse
from lbcproxy.filters.fields import FilterContext, members_of
from lbcproxy.filters.types import Family, RecordField, ValueType, fields_of
from lbcproxy.session import Direction, Entry, Message
from lbcproxy.wire import Codec, commands
from lbcproxy.wire.envelope import frame
from lbcproxy.wire.messages.compact_blocks import PrefilledTx
from lbcproxy.wire.registry import record_of
from lbcproxy.wire.rules import Params
from tests.strategies import records

CODEC = Codec(networks.get("lbry-regtest"))
PARAMS = CODEC.params
BITCOIN = Params(networks.get("bitcoin-regtest").rules, PARAMS.protocol_version, witness=True)
LITECOIN = Params(networks.get("litecoin-regtest").rules, PARAMS.protocol_version, witness=True)
ONLY_HERE = {"addresses", "claims", "address"}
"""Fields that only filters have."""
BEHIND = {"MerkleBlock", "CmpctBlock", "Block"}
"""Messages whose `hash` stands in their header in `to_dict`."""
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def entry_of(command, payload, codec=CODEC):
    """Make the entry of a message."""
    raw = frame(codec.network.magic, command, payload)
    message = Message(command, Direction.TO_CLIENT, raw, codec)
    return Entry(
        number=1, time_ns=10**18, session=1, direction=Direction.TO_CLIENT, message=message
    )


def seen(kind, value, context):
    """Return a value as a filter sees it, all the way down."""
    if value is None:
        return None
    if kind.family == "list":
        return [seen(kind.element, each, context) for each in value]
    if kind.family == "record":
        members = members_of(kind.record)
        return {
            name: seen(member.type, member.get(value, context), context)
            for name, member in members.items()
            if name in fields_of(kind.record)
            or (
                name not in ONLY_HERE
                and not (name in ("hash", "indexes") and kind.record.__name__ in BEHIND)
            )
        }
    return value if kind.convert is None else kind.convert(value)


def comparable(value):
    """Leave out what differs.

    That is keys that are not there at all where a filter says null (on other chains), and the
    index of prefilled transactions, which their records do not have.
    """
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if isinstance(value, dict):
        drop = {name for name in ("claim_trie", "pow_hash", "mweb") if value.get(name) is None}
        drop |= {"index"} if "index_delta" in value else set()
        return {name: comparable(each) for name, each in value.items() if name not in drop}
    return value


@pytest.mark.slow
@pytest.mark.parametrize("params", [PARAMS, BITCOIN, LITECOIN], ids=["lbry", "bitcoin", "litecoin"])
@pytest.mark.parametrize("command", commands())
def test_values_are_those_of_to_dict(command, params):
    """What a printed object shows can be used in a filter, by the same name and form."""
    record = record_of(command)
    assert record is not None

    @settings(max_examples=25, deadline=None, suppress_health_check=SLOW, database=None)
    @given(records(record, params))
    def compare(made):
        context = FilterContext(entry_of(command, b""), None, 0)
        kind = ValueType(family=Family.RECORD, description="", record=record)
        assert comparable(seen(kind, made, context)) == comparable(made.to_dict())

    compare()


def test_the_exceptions_are_needed():
    """The list of what differs does not outlive its reasons."""
    assert "index" not in members_of(PrefilledTx)
    assert all(isinstance(each, RecordField) for each in members_of(PrefilledTx).values())


def paths(kind, name, depth=0):
    """Return filters that touch everything below a value."""
    if kind.family == "list":
        yield f"len({name}) > 1"
        yield f"{name}[0] == null"
        variable = f"x{depth}"
        for each in paths(kind.element, variable, depth + 1):
            yield f"any({each} for {variable} in {name})"
            yield f"all(not {each} for {variable} in {name})"
    elif kind.family == "record":
        for attribute, member in members_of(kind.record).items():
            yield from paths(member.type, f"{name}.{attribute}", depth)
    elif kind.family == "number":
        yield from (f"{name} > 3", f"1 < -{name} + 2 * {name}", f"{name} in (1, 2)")
    elif kind.family == "text":
        yield from (f'{name} =~ "a.b"', f'"ab" in {name}', f'{name} < "a"', f"{name} == null")
    else:
        yield from (name, f"{name} == true", f"{name} != null")


def of_command(command):
    """Return filters that use every field of a command."""
    record = record_of(command)
    return [
        parse(text)
        for name, member in members_of(record).items()
        for text in paths(member.type, f"{command}.{name}")
    ]


@pytest.mark.parametrize("command", commands())
def test_a_filter_never_fails(command):
    """Whatever a node sends, sound or not, there is an answer; and it is a bool."""
    record = record_of(command)
    filters = of_command(command)
    payloads = records(record, PARAMS).map(CODEC.encode) | st.binary(max_size=120)
    cut = st.tuples(payloads, st.integers(0, 200)).map(lambda each: each[0][: each[1]])

    @settings(max_examples=10, deadline=None, suppress_health_check=SLOW, database=None)
    @given(payloads | cut)
    def ask(payload):
        entry = entry_of(command, payload)
        for each in filters:
            assert each._is_true(FilterContext(entry, None, each._variables)) in (True, False)
            assert type(each(entry)) is bool

    ask()

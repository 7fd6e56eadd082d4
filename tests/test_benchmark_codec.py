"""The benchmarks of the codec: they measure what they promise, and name what they cannot."""

import functools

import msgspec
import pytest

from benchmarks import blocks, codec, growth_codec, rivals
from benchmarks.measure import Absent, Figure
from lbcproxy import wire
from lbcproxy.wire import registry
from tests.engines import require_native


@pytest.fixture(autouse=True)
def _nothing_registered():
    yield
    for command in ("x-plain", "x-named"):
        registry._records().pop(command, None)


@pytest.fixture
def small(monkeypatch):
    """Have small blocks, and rivals that cannot be built here."""
    monkeypatch.setattr(codec, "make_block", functools.partial(blocks.make_block, 20))
    missing = [
        msgspec.structs.replace(each, build=("no-such-compiler",)) for each in rivals.PROGRAMS
    ]
    monkeypatch.setattr(codec, "PROGRAMS", missing)


@pytest.mark.slow
def test_every_target_is_measured_or_its_rival_named(small):
    """A ratio without its figures would pass for one that nobody asked for."""
    require_native()
    found = list(codec.measure(1))
    there = {(each.work, each.who) for each in found if isinstance(each, Figure)}
    absent = {each.who: each.why for each in found if isinstance(each, Absent)}
    for target in codec.TARGETS:
        assert (target.work, target.who) in there
        assert target.rival in absent or (target.work, target.rival) in there
    for program in rivals.PROGRAMS:
        assert absent[program.who] == "no-such-compiler is not installed"


@pytest.mark.parametrize("witness", [False, True])
def test_the_plain_construct_reads_what_we_read(witness):
    """A rival that did less would be no rival."""
    block = blocks.make_block(20, witness=witness)
    payload = blocks.payload_of(block)
    for plain in (codec.compiled(), codec.compiled().defersubcon):
        read = plain.parse(payload)
        assert plain.build(read) == payload
        assert [len(each.inputs) for each in read.transactions] == [
            len(each.inputs) for each in block.transactions
        ]
        assert [each.witnesses is not None for each in read.transactions] == [witness] * 20


@pytest.mark.slow
@pytest.mark.parametrize("size", growth_codec.SIZES.values())
def test_messages_that_grow_have_the_size_they_are_named_for(size):
    """Nearly: a whole number of transactions, of inputs and outputs."""
    writer = wire.Codec(growth_codec.NETWORK)
    made = [growth_codec._transaction(size)]
    if size > 500:
        made.append(growth_codec._block(size))
    for message in made:
        assert 0.5 * size < len(writer.encode(message)) <= size

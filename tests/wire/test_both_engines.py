"""Both engines on a few payloads and records of each message: the same values, the same errors.

`test_native.py` has many more of them and takes a minute; these take seconds, and are always run.
"""

import random

import pytest

from lbcproxy import wire
from tests.engines import Pair, as_values, mutated, require_native, spoiled
from tests.vector_files import load, payload_of

SHORT, CUTS = 1_500, 12
"""Bytes of a payload, and how many of its prefixes are read."""


@pytest.fixture(autouse=True)
def _native():
    require_native()


def kinds(command: str) -> list[tuple[Pair, bytes]]:
    """Return the longest of the short payloads of each kind of a command."""
    found = {}
    for vector in sorted(load("vectors"), key=lambda each: len(payload_of(each))):
        if vector["command"] == command and len(payload_of(vector)) <= SHORT:
            family = vector["network"].partition("-")[0]
            found[family, vector["encoding"], vector["pver"]] = vector
    return [
        (Pair(each["network"], each["pver"], each["encoding"]), payload_of(each))
        for each in found.values()
    ]


@pytest.mark.parametrize("command", wire.commands())
def test_prefixes_are_refused_with_the_same_words(command: str):
    """What is wrong, in which field, at which byte; and what was read before it."""
    for pair, payload in kinds(command):
        for size in range(0, len(payload) + 1, max(1, len(payload) // CUTS)):
            pair.read(command, payload[:size])
            first, second = (
                each.partial(command, payload[:size]) for each in (pair.construct, pair.native)
            )
            assert as_values(first) == as_values(second)


@pytest.mark.parametrize("command", wire.commands())
def test_changed_payloads_and_records_are_the_same_to_both(command: str):
    """Bytes that a hostile node sends, and values that a plugin gets wrong."""
    source = random.Random(command)
    for pair, payload in kinds(command):
        record = pair.construct.decode(command, payload)
        assert pair.write(record) == pair.construct.encode(record)
        for _ in range(CUTS):
            pair.read(command, mutated(payload, source))
            pair.write(spoiled(record, source))

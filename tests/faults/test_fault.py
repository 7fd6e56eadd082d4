"""What a fault may be, and in what words it is refused."""

from typing import Any

import msgspec
import pytest

from lbcproxy.faults import BadFault, Fault, byte_faults, parse_fault
from tests.faults.chains import fault


def test_a_fault_has_toxiproxys_defaults():
    """Downstream, certain, named by type and stream."""
    made = Fault(type="latency")
    assert (made.name, made.stream, made.toxicity) == ("latency_downstream", "downstream", 1.0)
    assert made.byte_fault == byte_faults()["latency"]()
    assert Fault(type="latency", stream="upstream").name == "latency_upstream"


def test_a_fault_says_what_it_is():
    """For the log: what is not as usual."""
    assert str(fault("latency", latency=5)) == "latency_downstream (latency 5, jitter 0)"
    some = fault("limit_data", bytes=5, name="x", toxicity=0.25, after=9, lasts=2.5)
    assert str(some) == "x (bytes 5, after_bytes 9, for_seconds 2.5, toxicity 0.25)"


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        ({"type": "latancy"}, "type", "'latancy' is not a type of fault, did you mean latency?"),
        ({"type": "zzz"}, "type", "'zzz' is not a type of fault, there are bandwidth, latency, "),
        (
            {"type": "latency", "attributes": {"latncy": 1}},
            "attributes.latncy",
            "latency has no such attribute, did you mean latency?",
        ),
        (
            {"type": "latency", "attributes": {"zz": 1}},
            "attributes.zz",
            "latency has no such attribute, there are latency, jitter",
        ),
        (
            {"type": "latency", "attributes": {"jitter": "1"}},
            "attributes.jitter",
            "Expected `int`, got `str`",
        ),
        (
            {"type": "bandwidth", "attributes": {"rate": -1}},
            "attributes.rate",
            "Expected `int` >= 0",
        ),
        ({"type": "slicer"}, "attributes", "Object missing required field `average_size`"),
        (
            {"type": "slicer", "attributes": {"average_size": 1, "size_variation": 1}},
            "attributes.size_variation",
            "Expected fewer bytes than average_size",
        ),
        (
            {"type": "latency", "attributes": []},
            "attributes",
            "a mapping of attributes to values is",
        ),
        ({"type": "latency", "for_seconds": -1.0}, "for_seconds", "a time above 0 is expected"),
        ({"type": "latency", "name": "a/b"}, "name", "'a/b' has a slash in it"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_by_name(given: dict[str, Any], path: str, words: str):
    """The attribute is named, and what would be right."""
    with pytest.raises(BadFault) as caught:
        Fault(**given)
    assert caught.value.path == path
    assert caught.value.what.startswith(words)
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(given, Fault)
    assert refused.value.__cause__ is not None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "latency", "toxicity": 1.5}, "Expected `float` <= 1.0"),
        ({"type": "latency", "stream": "both"}, "make two of it"),
        ({"type": "latency", "after_bytes": -1}, "Expected `int` >= 0"),
        ({"type": "latency", "toxcity": 1}, "unknown field `toxcity`"),
        ({}, "missing required field `type`"),
    ],
)
def test_what_is_read_is_checked(given: dict[str, Any], words: str):
    """By its declaration."""
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(given, Fault)


@pytest.mark.parametrize(
    ("text", "by_byte", "by_message", "encrypted"),
    [
        ("latency", True, False, False),
        ("drop", False, True, False),
        ("tag", False, True, True),
        ("decoy", False, True, True),
        ("packet_length", False, True, True),
        ("handshake", False, False, True),
    ],
)
def test_what_a_fault_acts_on(text: str, by_byte: bool, by_message: bool, encrypted: bool):
    """Bytes, messages or a handshake; some need encryption."""
    fault = parse_fault(text)
    assert (fault.by_byte, fault.by_message) == (by_byte, by_message)
    assert fault.of_handshake is not (by_byte or by_message)
    assert fault.needs_encryption is encrypted
    assert fault.stream == ("downstream" if by_byte else "both")

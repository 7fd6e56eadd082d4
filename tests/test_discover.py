"""Registries made of folders: one file is one entry."""

import pytest

from lbcproxy import discover
from lbcproxy.faults.byte_fault import ByteFault
from lbcproxy.faults.message_fault import MessageFault

BY_BYTE = "lbcproxy.faults.by_byte"


def test_every_module_is_an_entry():
    """In the order of the names, without those that begin with an underscore."""
    found = discover.classes(BY_BYTE, "FAULT", ByteFault)
    assert [each.__module__.rpartition(".")[2] for each in found] == discover.names(BY_BYTE)
    assert len(found) > 5


def test_entries_without_a_name_are_modules():
    """For what reads more than one name of a module."""
    assert [each.__name__ for each in discover.entries(BY_BYTE)] == [
        f"{BY_BYTE}.{name}" for name in discover.names(BY_BYTE)
    ]


def test_a_module_without_the_name_is_an_error():
    """It is named, with what it should export."""
    with pytest.raises(TypeError, match=r"by_byte\.bandwidth must export NOTHING, of type int"):
        discover.entries(BY_BYTE, "NOTHING", int)


def test_a_value_of_another_type_is_an_error():
    """A registry holds one type."""
    with pytest.raises(TypeError, match="must export FAULT, of type str"):
        discover.entries(BY_BYTE, "FAULT", str)


def test_a_class_of_another_base_is_an_error():
    """A fault by message in the folder of faults by byte is a mistake."""
    with pytest.raises(TypeError, match=r"bandwidth\.FAULT is not a subclass of MessageFault"):
        discover.classes(BY_BYTE, "FAULT", MessageFault)

"""`lbcproxy schema`: what is said of messages is what is declared."""

import pytest

from lbcproxy.wire import commands, record_of
from lbcproxy.wire.registry import OPAQUE
from lbcproxy.wire.schema import describe


def test_without_a_command_all_are_listed(lbcproxy):
    """One line a command, with the first line of its description."""
    ended = lbcproxy("schema")
    assert ended.code == 0
    assert [line[:14].strip() for line in ended.lines] == list(commands())
    assert all(len(line) > 14 for line in ended.lines)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_described(lbcproxy, command):
    """The table has a row for each declared field, in the order of the wire."""
    ended = lbcproxy("schema", command)
    assert (ended.code, ended.err) == (0, "")
    assert ended.lines[0].startswith(f"{command}: ")
    assert any(line.startswith("payload, at most ") for line in ended.lines)
    names = [field.name for field in describe(record_of(command))]
    if names:
        table = ended.lines[-len(names) - 1 :]
        assert [line.split()[0] for line in table] == ["field", *names]
        assert not [line for line in table if "?" in line]
    else:
        assert ended.lines[-1] == "no fields"


def test_a_limit_that_depends_on_the_chain_is_listed_for_each(lbcproxy):
    """LBRY allows blocks of 8 MB, Bitcoin of 4."""
    text = lbcproxy("schema", "block").out
    assert "8,000,000 on lbry, 4,000,000 on bitcoin" in text


def test_the_minimum_version_is_listed(lbcproxy):
    """A sender has to know from which version on a message is valid."""
    assert "valid from protocol version 70001 on" in lbcproxy("schema", "filterload").out


@pytest.mark.parametrize("command", OPAQUE)
def test_known_commands_without_a_record_say_so(lbcproxy, command):
    """They pass and are recorded, but their fields are unknown."""
    ended = lbcproxy("schema", command)
    assert ended.code == 0
    assert ended.lines == [
        f"{command}: known ({OPAQUE[command]}), passed and recorded without being decoded"
    ]


def test_unknown_command_is_a_usage_error(lbcproxy):
    """It names those there are."""
    ended = lbcproxy("schema", "nope")
    assert ended.code == 2
    assert "no record for 'nope'; there are addr, " in ended.err

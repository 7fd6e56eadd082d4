"""Tests of directions."""

import pytest

from lbcproxy.session import Direction


@pytest.mark.parametrize("direction", Direction)
def test_the_other_direction_leads_back(direction: Direction):
    """There are two directions, so that twice the other one is the same."""
    assert direction.other is not direction
    assert direction.other.other is direction


def test_a_direction_is_its_public_name():
    """The names are those of `-T ndjson`; scripts compare them as strings."""
    assert [str(direction) for direction in Direction] == ["to_upstream", "to_client"]
    assert Direction("to_client") is Direction.TO_CLIENT


def test_arrows_point_away_from_the_client_and_back():
    """A line reads from the client on the left to the upstream on the right."""
    assert Direction.TO_UPSTREAM.arrow == "->"
    assert Direction.TO_CLIENT.arrow == "<-"

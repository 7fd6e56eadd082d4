"""What every test of a peer shares: when its peers have ended, nothing is left to be called."""

import pytest

from tests.peer import builders


@pytest.fixture(autouse=True)
def nothing_is_left_on_the_clock():
    """End every peer of the test, as its user would, and look at its clock."""
    builders.MADE.clear()
    yield
    for wired in builders.MADE:
        wired.end()
    assert [call for wired in builders.MADE for call in wired.clock.getDelayedCalls()] == []

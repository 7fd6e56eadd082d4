"""The ports that tests give to programs."""

import random

from benchmarks import contestants
from tests.nodes import free_port


def test_tests_that_begin_with_one_seed_get_ports_of_their_own():
    """pytest-randomly seeds `random` anew for each test, in both processes of `-n 2` alike."""
    for free in (free_port, contestants.free_port):
        found = set()
        for _ in range(5):
            random.seed(7)
            found.add(free())
        assert len(found) > 1

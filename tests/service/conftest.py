"""What the tests of the service share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.loops import Loop
from tests.service.served import Served


@pytest.fixture
def served(loop: Loop, tmp_path: Path) -> Iterator[Served]:
    """Return a service that is stopped in the end."""
    served = Served(loop, tmp_path)
    yield served
    served.stop()

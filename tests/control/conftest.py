"""What tests of the control API share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.serving import Serving
from tests.proxy.loops import Loop


@pytest.fixture
def serving(loop: Loop, tmp_path: Path) -> Iterator[Serving]:
    """Return a service that is stopped in the end."""
    serving = Serving(loop, tmp_path)
    yield serving
    serving.stop()

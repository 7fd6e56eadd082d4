"""A project whose tests use the plugin as its users do."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.tools import TIMEOUT

__all__ = ["Project"]

USUAL = ("-p", "no:cacheprovider", "-p", "no:randomly")


class Project:
    """A folder in which pytest is run."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.path: Path = pytester.path

    def tests(self, source: str, name: str = "test_it") -> None:
        """Write a file of tests, after the imports that all have."""
        head = "import asyncio\nimport pytest\nimport lightclient\n"
        (self.path / f"{name}.py").write_text(head + textwrap.dedent(source))

    def config(self, **settings: Any) -> None:
        """Say the fixture `lbcproxy_config`."""
        (self.path / "conftest.py").write_text(
            f"import pytest\n\n\n@pytest.fixture\ndef lbcproxy_config():\n    return {settings!r}\n"
        )

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in this process."""
        return self._pytester.runpytest_inprocess(*USUAL, *arguments)

    def run_apart(self, *arguments: str) -> pytest.RunResult:
        """Run it in a process of its own."""
        return self._pytester.runpytest_subprocess(*USUAL, *arguments, timeout=TIMEOUT)

    @property
    def captures(self) -> list[str]:
        """The captures that there are, but for the one that was there before; and parts of any."""
        found = [path for path in self.path.rglob("*") if ".pcap" in path.name]
        return sorted(
            path.relative_to(self.path).as_posix() for path in found if path.name != "sync.pcap"
        )


CHAIN = """
@pytest.mark.capture
def test_chain(recorded_node):
    chain = lightclient.fetch_chain(recorded_node.host, recorded_node.port)
    assert len(chain) == 306
"""


FILE = "captures/test_it/test_chain.pcapng"


def outcome(result: pytest.RunResult) -> dict[str, int]:
    return {name: n for name, n in result.parseoutcomes().items() if name != "warnings"}

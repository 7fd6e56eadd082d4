"""What the tests of the command line share."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lbcproxy.cli.main import main
from lbcproxy.resources import folder


class Ended(NamedTuple):
    """How a call of `lbcproxy` ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of its output."""
        return self.out.splitlines()


@pytest.fixture
def lbcproxy(capsys, monkeypatch) -> Callable[..., Ended]:
    """Call the command line in this process, as the installed command does."""

    def call(*arguments: object, stdin: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ending:
            main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        code = ending.value.code
        assert code is None or isinstance(code, int)
        return Ended(code or 0, out, err)

    return call


@pytest.fixture
def captures() -> Path:
    """Give the folder of real captures that lbcproxy comes with."""
    return folder("captures")

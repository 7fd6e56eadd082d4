"""What the tests of the command line share."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from twisted.logger import globalLogPublisher

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
    """Call the command line in this process, as the installed command does.

    What is to run until a signal comes has no place here: it fails when it would begin.
    """
    monkeypatch.setattr("twisted.internet.reactor.run", _would_run)
    # Twisted warns, in the log, if logging begins twice in a process.
    monkeypatch.setattr("lbcproxy.service.logs.globalLogBeginner", _LogBeginner())

    def call(*arguments: object, stdin: str = "") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ending:
            main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        code = ending.value.code
        assert code is None or isinstance(code, int)
        return Ended(code or 0, out, err)

    return call


class _LogBeginner:
    """Begins to log as Twisted's does in a process of its own."""

    def beginLoggingTo(self, observers, **_: object) -> None:
        """Add the observers."""
        for each in observers:
            globalLogPublisher.addObserver(each)


def _would_run(**_: object) -> NoReturn:
    pytest.fail("the command began to run, where it was to refuse or to end by itself")


@pytest.fixture
def captures() -> Path:
    """Return the folder of real captures that lbcproxy comes with."""
    return folder("captures")

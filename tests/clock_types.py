"""Checked by mypy only (`script/lint`): what satisfies `lbcproxy.clock.Clock`."""

from twisted.internet.base import ReactorBase
from twisted.internet.task import Clock as TestClock

from lbcproxy.clock import Clock


def is_clock(clock: Clock) -> None:
    """Accept what mypy takes for a clock."""


def check(reactor: ReactorBase, test_clock: TestClock) -> None:
    """Fail to type-check if one of Twisted's clocks is not a `Clock`."""
    is_clock(reactor)
    is_clock(test_clock)

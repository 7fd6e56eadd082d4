"""The reactor in a thread, and what it answers."""

from __future__ import annotations

import asyncio

import pytest
from twisted.internet.defer import Deferred

from lbcproxy.pytest_plugin.loop import Loop


@pytest.fixture
def own_loop():
    loop = Loop()
    yield loop
    loop.stop()


def test_what_is_called_answers(own_loop):
    """A value, a Deferred, a coroutine, an error."""

    async def later(value):
        return value

    def fails():
        raise KeyError("no")

    assert own_loop.call(lambda value: value, 1) == 1
    assert own_loop.call(later, 2) == 2
    with pytest.raises(KeyError):
        own_loop.call(fails)
    with pytest.raises(KeyError):
        own_loop.start("it", fails).result()


def test_anyone_who_waits_no_longer_does_no_harm(own_loop):
    """A task is cancelled; what it waited for comes anyway, to who still wants it."""
    there: Deferred[int] = Deferred()
    answer = own_loop.start("it", lambda: there)

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(answer, 0.01)

    asyncio.run(main())
    assert repr(answer) == "<PendingResult it>"
    own_loop.call(there.callback, 7)
    assert answer.result() == 7
    assert answer.done()
    assert asyncio.run(awaited(answer)) == 7


async def awaited(answer):
    return await answer

"""Plugins made of functions, and a pipeline whose host records what it is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TypeVar

from lbcproxy import networks
from lbcproxy.plugin import Plugin
from lbcproxy.plugins.delivery_queue import bytes_to_send
from lbcproxy.plugins.hooks import Hooks, PluginChain
from lbcproxy.plugins.pipeline import OPEN, Pipeline
from lbcproxy.session import Delivery, Direction, End, Session
from lbcproxy.wire.envelope import frame

__all__ = ["NETWORK", "PING", "PONG", "RecordingHost", "chain_of", "piped", "plugin"]

T = TypeVar("T")

NETWORK = networks.get("lbry-regtest")
PING = frame(NETWORK.magic, "ping", bytes(8))
PONG = frame(NETWORK.magic, "pong", bytes(8))


class RecordingHost:
    """The `PipelineHost` of tests. A coroutine runs until it awaits, and no further."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        """Everything that was asked for, in order."""
        self.timers: list[tuple[float, Callable[[], object]]] = []
        """What is to be called later, and after how many seconds."""
        self.complaints: list[str] = []
        self.errors: list[BaseException | None] = []
        """What the complaints are about."""
        self.limits: list[float | None] = []
        """The limits that hooks were given."""
        self.full: set[Direction] = set()

    def send(self, direction: Direction, data: bytes) -> None:
        self.calls.append(("send", direction, data))

    def send_deliveries(
        self, direction: Direction, deliveries: Sequence[Delivery], data: bytes | None
    ) -> Sequence[Delivery]:
        self.send(direction, bytes_to_send(deliveries) if data is None else data)
        return deliveries

    def notify_delivered(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        self.calls.append(("notify_delivered", direction, *deliveries))

    def finish(self, direction: Direction) -> None:
        self.calls.append(("finish", direction))

    def close(self, end: End) -> None:
        self.calls.append(("close", end))

    def hold(self, direction: Direction, held: bool) -> None:
        self.calls.append(("hold", direction, held))

    def is_full(self, direction: Direction) -> bool:
        return direction in self.full

    def now(self) -> int:
        return 7

    def run(self, work: Coroutine[object, object, None], done: Callable[[], object]) -> None:
        try:
            work.send(None)
        except StopIteration:
            done()

    async def limited(self, answer: Coroutine[object, object, T], limit: float | None) -> T:
        self.limits.append(limit)
        return await answer

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        self.timers.append((seconds, call))

    def sleep(self, seconds: float) -> Awaitable[None]:
        raise NotImplementedError

    def complain(self, words: str, error: BaseException | None) -> None:
        self.complaints.append(words)
        self.errors.append(error)

    def named(self, name: str) -> list[tuple[object, ...]]:
        """Return the arguments of each call of a name."""
        return [arguments for called, *arguments in self.calls if called == name]


def plugin(**attributes: object) -> Plugin:
    """Return a plugin named `Tried` with these hooks and other attributes."""
    made: Plugin = type("Tried", (Plugin,), attributes)()
    return made


def chain_of(*plugins: Plugin) -> PluginChain:
    """Return the chain of plugins."""
    return PluginChain([Hooks(type(each).__name__, each) for each in plugins])


def piped(*plugins: Plugin, policy: str = OPEN) -> tuple[Pipeline, RecordingHost]:
    """Return a pipeline of plugins, and its host."""
    host, chain = RecordingHost(), chain_of(*plugins)
    core = Session(1, NETWORK, buffered_commands=chain.commands)
    return Pipeline(core, chain, host, policy), host

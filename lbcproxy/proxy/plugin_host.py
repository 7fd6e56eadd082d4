"""Run the plugins of a session on Twisted: the clock, the connections and the log of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol, TypeAlias, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy.clock import Clock, DelayedCall
from lbcproxy.faults import Fault, MessageFaultHook, random_of
from lbcproxy.interrupt import is_ctrl_c, words_of
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.plugins.delivery_queue import bytes_to_send
from lbcproxy.plugins.hooks import Hooks, PluginChain
from lbcproxy.plugins.loader import chain_of, describe_error, reloaded_chain
from lbcproxy.plugins.pipeline import Pipeline
from lbcproxy.proxy.interception import Interception
from lbcproxy.proxy.settings import Plugins
from lbcproxy.session import Delivery, Direction, End, EndCause, Session

__all__ = ["EscapedError", "PipelineOwner", "PluginHost", "chain_for"]

T = TypeVar("T")
SendDeliveries: TypeAlias = Callable[
    [Direction, Sequence[Delivery], bytes | None], Sequence[Delivery]
]
"""See `PipelineHost.send_deliveries`."""
LOG = Logger(namespace="lbcproxy.plugins", observer=LOG_FILTER)


class PipelineOwner(Protocol):
    """What a pipeline needs of its session."""

    number: int

    def send_on(self, direction: Direction, data: bytes) -> None:
        """Send bytes in a direction."""

    def notify_delivered(self, direction: Direction, deliveries: Sequence[Delivery]) -> None:
        """Report deliveries to the observers."""

    def finish_on(self, direction: Direction) -> None:
        """Close a direction on the other leg too."""

    def stop(self, end: End = ...) -> None:
        """End the session in order."""

    def hold(self, direction: Direction, held: bool) -> None:
        """Stop reading what arrives in a direction, or resume."""

    def is_full(self, direction: Direction) -> bool:
        """Whether the receiver in a direction reads more slowly than is sent."""


class ChainSettings(Protocol):
    """The settings that decide what messages go through; `RelaySettings` has them."""

    @property
    def plugins(self) -> Plugins:
        """The plugins."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults; those by byte are ignored here."""

    @property
    def seed(self) -> int:
        """The seed of the faults' random numbers."""


class ChainRuntime(Protocol):
    """What the chain uses while it runs; `Runtime` has it."""

    @property
    def clock(self) -> Clock:
        """The clock of schedules."""

    @property
    def interception(self) -> Interception | None:
        """Holds messages by hand, if that is possible."""


def chain_for(
    number: int, settings: ChainSettings, runtime: ChainRuntime, before: PluginChain | None = None
) -> PluginChain:
    """Return what a session's messages go through: plugins, faults by message, interception.

    Args:
        number: The session's number, part of the seed of its faults.
        settings: The plugins and faults.
        runtime: The clock and the interception.
        before: The chain that the new one replaces. Plugins keep what they remember, and faults
            that have not changed continue.

    Returns:
        The new chain.
    """
    loaded = settings.plugins.loaded
    chain = chain_of(loaded) if before is None else reloaded_chain(before, loaded)
    known = {
        each.name: each
        for each in ([] if before is None else before.plugins)
        if isinstance(each.plugin, MessageFaultHook)
    }
    for fault in settings.faults:
        if not fault.by_message:
            continue
        old = known.get(fault.name)
        if (
            old is not None
            and isinstance(old.plugin, MessageFaultHook)
            and old.plugin.fault == fault
        ):
            chain.plugins.append(old)
            continue
        random = random_of(settings.seed, number, fault)
        hook = MessageFaultHook(fault, random, runtime.clock.seconds)
        chain.plugins.append(Hooks(fault.name, hook))
    if runtime.interception is not None:
        chain.plugins.append(runtime.interception.hooks())
    return chain


class EscapedError(Exception):
    """A hook raised something that is not an Exception, for example SystemExit."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(words_of(error))
        self.error = error


def _contained(failure: Failure) -> Failure:
    error = failure.value
    if error is None or isinstance(error, Exception) or is_ctrl_c(error):
        return failure
    raise EscapedError(error)


class PluginHost:
    """The `PipelineHost` of a session, with Twisted's clock.

    Args:
        runs: The session.
        clock: Twisted's reactor, or a test's clock.
        now: Returns the time of day in nanoseconds since 1970, UTC.
        limit: Seconds that a hook may wait.
        complain: Receives a description of what a plugin did wrong; by default it is logged.
        send_deliveries: Sends deliveries, and returns them as they are to be reported; by default
            their bytes are sent.
    """

    def __init__(
        self,
        runs: PipelineOwner,
        clock: Clock,
        now: Callable[[], int],
        limit: float,
        complain: Callable[[str], object] | None = None,
        send_deliveries: SendDeliveries | None = None,
    ) -> None:
        self._runs = runs
        self._clock = clock
        self._limit = limit
        self._complain = complain or self._log
        self._calls: set[DelayedCall] = set()
        self._running: set[Deferred[None]] = set()
        self._over = False
        self.now = now
        self.send = runs.send_on
        self.send_deliveries = send_deliveries or self._send_bytes
        self.notify_delivered = runs.notify_delivered
        self.finish = runs.finish_on
        self.close = runs.stop
        self.hold = runs.hold
        self.is_full = runs.is_full

    def pipeline(self, core: Session, chain: PluginChain, policy: str) -> Pipeline | None:
        """Return the pipeline of a session; None if there are no plugins."""
        return Pipeline(core, chain, self, policy) if chain.plugins else None

    def receive(
        self, pipeline: Pipeline, direction: Direction, data: bytes, lost: Callable[[int], object]
    ) -> None:
        """Pass bytes to a pipeline. If it raises, the session ends and `lost` is called."""
        try:
            pipeline.receive(direction, data, self.now())
        except Exception:
            LOG.failure("session {number}: plugins cannot be run", number=self._runs.number)
            lost(len(data))
            self.close(End(EndCause.FAILURE, detail="a defect in what runs plugins"))

    def stop(self) -> None:
        """Cancel all timers and hooks: the session is over."""
        self._over = True
        for call in tuple(self._calls):
            if call.active():
                call.cancel()
        for running in tuple(self._running):
            running.cancel()

    def run(self, work: Coroutine[object, object, None], done: Callable[[], object]) -> None:
        """Start a coroutine, and call `done` when it has ended, unless the session is over."""
        running = Deferred.fromCoroutine(cast("Coroutine[Deferred[object], object, None]", work))
        self._running.add(running)
        interrupts: list[BaseException] = []  # a Deferred would swallow them

        def ended(result: object) -> None:
            self._running.discard(running)
            error = result.value if isinstance(result, Failure) else None
            if error is not None and is_ctrl_c(error):
                interrupts.append(error)
            elif not self._over:
                done()

        running.addBoth(ended)
        if interrupts:
            raise interrupts[0]

    def limited(
        self, answer: Coroutine[object, object, T], limit: float | None = None
    ) -> Deferred[T]:
        """Return a hook's answer as a Deferred. It fails with TimeoutError if it takes too long."""
        waiting = Deferred.fromCoroutine(cast("Coroutine[Deferred[object], object, T]", answer))
        waiting.addErrback(_contained)
        seconds = self._limit if limit is None else limit
        if seconds < float("inf"):
            waiting.addTimeout(seconds, cast("IReactorTime", self._clock), _timed_out)
        return waiting

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call a function later, unless the session is over by then."""

        def due() -> None:
            self._calls.discard(timer)
            call()

        timer = self._clock.callLater(seconds, due)
        self._calls.add(timer)

    def sleep(self, seconds: float) -> Deferred[None]:
        """Return a Deferred that fires after so many seconds."""
        return deferLater(cast("IReactorTime", self._clock), seconds, lambda: None)

    def complain(self, words: str, error: BaseException | None) -> None:
        """Report to the operator what a plugin did wrong."""
        if self._over:
            return
        if error is not None:
            cause = error.error if isinstance(error, EscapedError) else error
            words = f"{words} [{describe_error(cause)}]"
        self._complain(words)

    def _send_bytes(
        self, direction: Direction, deliveries: Sequence[Delivery], data: bytes | None
    ) -> Sequence[Delivery]:
        self.send(direction, bytes_to_send(deliveries) if data is None else data)
        return deliveries

    def _log(self, words: str) -> None:
        LOG.warn("[#{session}] {words}", session=self._runs.number, words=words)


def _timed_out(_: object, seconds: float) -> None:
    raise TimeoutError(f"no answer in {seconds:g} s")

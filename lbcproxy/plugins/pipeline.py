"""The pipeline of a session: what was received, through the plugins, to what is sent.

Order is kept in each direction: what is delayed, or waits for a decision, holds what is behind it.
No socket and no clock of its own: whoever runs it is its `Host`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from lbcproxy.interrupt import is_ctrl_c, words_of
from lbcproxy.plugins.delivery_queue import Line, Step, not_sent
from lbcproxy.plugins.hooks import Chain, Hooks
from lbcproxy.plugins.host import Host
from lbcproxy.plugins.injections import Injections
from lbcproxy.plugins.outcome import Outcome
from lbcproxy.plugins.session_view import LiveSession
from lbcproxy.plugins.verdicts import Raw, Sendable, Verdict
from lbcproxy.session.direction import Direction
from lbcproxy.session.entry import Delivery
from lbcproxy.session.info import SessionInfo
from lbcproxy.session.message import Message
from lbcproxy.session.salvage import SafeReader
from lbcproxy.session.session import Session
from lbcproxy.wire.messages.handshake import Version
from lbcproxy.wire.record import MessageRecord

__all__ = ["CLOSED", "OPEN", "Pipeline"]

MOST_HELD = 16 << 20
"""Bytes that may wait in one direction before the sender is read no more."""
MOST_STEPS = 10_000
SLOW = 0.25
"""Seconds that a hook which does not wait may take: all sessions stand still meanwhile."""
OPEN, CLOSED = "open", "closed"
"""What becomes of a message whose plugin fails: it passes as it was, or is dropped."""


class Pipeline:
    """One session's plugins at work."""

    def __init__(self, core: Session, chain: Chain, host: Host, policy: str = OPEN) -> None:
        self.core = core
        self.host = host
        self.facts: SessionInfo | None = None
        self._safe = SafeReader(core)
        self._chain = chain
        self._policy = policy
        self._lines = {direction: Line() for direction in Direction}
        self._sessions = {plugin: LiveSession(self, core, plugin.name) for plugin in chain.plugins}
        self._injections = {way: Injections(line) for way, line in self._lines.items()}
        self._held: set[Direction] = set()
        self._shown: dict[Direction, int] = {}  # the versions that plugins have put in place
        self._ready = False

    def change(self, chain: Chain) -> None:
        """Have other plugins from the next message on."""
        self._chain = chain
        for plugin in chain.plugins:
            self._sessions[plugin] = LiveSession(self, self.core, plugin.name)
        self.core.set_buffered_commands(chain.commands)

    @property
    def chain(self) -> Chain:
        """The plugins."""
        return self._chain

    @property
    def held(self) -> int:
        """Bytes that wait for a decision or for their time."""
        return sum(line.held for line in self._lines.values())

    def is_waiting(self, direction: Direction) -> bool:
        """Whether something of a direction waits for a decision or for its time."""
        return not self._lines[direction].is_idle

    def start(self, facts: SessionInfo) -> None:
        """Tell the plugins that the session begins."""
        self.facts = facts
        self._event("start")

    def receive(self, direction: Direction, data: bytes, time_ns: int) -> None:
        """Take bytes as they came from one node."""
        line = self._lines[direction]
        if line.is_idle and self.core.can_forward_unparsed(direction, data):
            self.host.send(direction, data)  # before it is hashed: the node need not wait for that
            deliveries = self._safe.receive(direction, data, time_ns)
            line.passed(deliveries)
            self.host.tell(direction, deliveries)
            return
        waited = self.core.is_partial(direction)
        deliveries = self._safe.receive(direction, data, time_ns)
        if line.is_idle and not any(self._is_asked(each) for each in deliveries):
            line.passed(deliveries)
            if not waited and not self.core.is_partial(direction):
                self._pass(direction, deliveries, data)
            elif deliveries:
                self._pass(direction, deliveries)
        else:
            for delivery in deliveries:
                self._take(direction, delivery)
            self._go_on(direction)
        self.look_ready()

    def offer(self, direction: Direction, delivery: Delivery) -> None:
        """Take a message that somebody else has framed."""
        self._take(direction, delivery)
        self._go_on(direction)

    def finish(self, direction: Direction, time_ns: int) -> None:
        """Take note that a node sends no more: the end waits behind what is held."""
        for delivery in self._safe.end(direction, time_ns):
            self._take(direction, delivery)
        self._lines[direction].ended = True
        self._go_on(direction)

    def let_go(self, time_ns: int) -> None:
        """Hold no message that is not whole yet."""
        for direction in Direction:
            for delivery in self._safe.release_partial(direction, time_ns):
                self._take(direction, delivery)
            self._go_on(direction)

    def cut(self, time_ns: int) -> None:
        """Give up what waits: the session is broken off."""
        for direction, line in self._lines.items():
            deliveries = [not_sent(each) for step in line.clear() for each in step.deliveries]
            deliveries += map(not_sent, self._safe.end(direction, time_ns))
            if deliveries:
                self.host.tell(direction, deliveries)

    def end(self, why: str) -> None:
        """Tell the plugins that it is over."""
        self._event("end", why)

    def inject(
        self, who: str, direction: Direction, messages: Sequence[Sendable], why: str = ""
    ) -> None:
        """Put something into a direction."""
        made = [self._made(each, direction) for each in messages]
        self._inject(direction, made, f"{who}: inject" + (f": {why}" if why else ""))

    def _inject(self, direction: Direction, made: Sequence[Message | Raw], words: str) -> None:
        """Put what is framed into a direction; raises OverflowError if nobody reads it."""
        self._check(direction, sum(len(each.raw) for each in made), len(made))
        for each in made:
            step = Step([self._injection(each, direction, words)], added=1)
            self._lines[direction].inject(step)
        self._go_on(direction)

    def _check(self, direction: Direction, size: int, messages: int) -> None:
        full = self.host.is_full(direction)
        self._injections[direction].check(size, messages, full=full)

    def later(self, who: str, seconds: float, call: Callable[[], object]) -> None:
        """Call what a plugin wants to be called later, and name it if that fails."""

        def due() -> None:
            try:
                call()
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                words = f"plugin {who}: what it wanted later failed: {words_of(error)}"
                self.host.complain(words, error)

        self.host.later(seconds, due)

    # One message.

    def _take(self, direction: Direction, delivery: Delivery) -> None:
        entry = delivery.entries[0] if self._is_asked(delivery) else None
        self._lines[direction].put(Step([delivery], entry))

    def _is_asked(self, delivery: Delivery) -> bool:
        if delivery.run is not None or not delivery.entries:
            return False
        message = delivery.entries[0].message
        if message is None or not message.raw:
            return False  # junk, or a long message that has passed
        return self._chain.asked(message.command, error=self._is_wrong(message))

    def _is_wrong(self, message: Message) -> bool:
        return self._chain.wants_errors and message.error is not None

    def _go_on(self, direction: Direction) -> None:
        line = self._lines[direction]
        while not line.deciding:
            step = line.undecided()
            if step is None:
                break
            line.deciding = True
            self._decide(direction, step)
        self._flush(direction)

    def _decide(self, direction: Direction, step: Step) -> None:
        entry = step.entry
        assert entry is not None
        assert entry.message is not None
        message = entry.message
        outcome = Outcome(message, self._made, self._check)
        wrong = self._is_wrong(message)
        waits = self._chain.waits(message.command, error=wrong)
        work = self._ask(outcome, wrong, waits)
        if waits:
            self.host.run(work, lambda: self._decided(direction, step, outcome))
            return
        try:
            work.send(None)
        except StopIteration:
            self._settle(direction, step, outcome)

    async def _ask(self, outcome: Outcome, wrong: bool, waits: bool) -> None:
        """Ask the plugins in order, each about what those before it have left."""
        for plugin in tuple(self._chain.plugins):
            for message in tuple(outcome.messages):
                if isinstance(message, Message):
                    await self._ask_one(plugin, outcome, message, wrong, waits)

    async def _ask_one(
        self, plugin: Hooks, outcome: Outcome, message: Message, wrong: bool, waits: bool
    ) -> None:
        for hook in plugin.of(message.command, error=wrong):
            began = time.perf_counter()
            try:
                answer = hook(self._sessions[plugin], message)
                if inspect.iscoroutine(answer) and not waits:
                    answer.close()
                    raise TypeError("a hook that waits is written with `async def`")
                if inspect.iscoroutine(answer):
                    began = float("inf")  # it may take its time
                    answer = await self.host.limited(answer, plugin.patience)
                self._apply(plugin, outcome, answer, message)
            except BaseException as error:
                stopped = began == float("inf") and not isinstance(error, Exception)
                if stopped or is_ctrl_c(error):
                    raise
                self._failed(plugin, hook.__name__, error)
                if self._policy == CLOSED:
                    outcome.fail(plugin.name, f"{hook.__name__} failed")
                return
            if time.perf_counter() - began > SLOW:
                self._breach(plugin, f"{hook.__name__} took {time.perf_counter() - began:.1f} s")
            if not any(each is message for each in outcome.messages):
                return

    def _apply(self, plugin: Hooks, outcome: Outcome, answer: Any, message: Message) -> None:
        answers = answer if isinstance(answer, list | tuple) else (answer,)
        verdicts = [each for each in answers if each is not None]
        for each in verdicts:
            if not isinstance(each, Verdict):
                raise TypeError(
                    f"{each!r} is no verdict: return None, Drop, Replace, Delay, Inject or Close"
                )
        if verdicts:
            outcome.apply(plugin.name, verdicts, message)

    def _decided(self, direction: Direction, step: Step, outcome: Outcome) -> None:
        self._settle(direction, step, outcome)
        self._go_on(direction)

    def _settle(self, direction: Direction, step: Step, outcome: Outcome) -> None:
        line = self._lines[direction]
        line.deciding = False
        assert step.entry is not None
        if outcome.trail:  # otherwise nobody had anything to say: it passes as it is
            deliveries = outcome.deliveries(
                step.entry, lambda each, words: self._injection(each, direction, words)
            )
            line.settle(step, deliveries, added=outcome.added, added_size=outcome.added_size)
        step.close = outcome.close
        if outcome.message.command == "version":
            self._note_version(direction, outcome.messages)
        if outcome.across:
            try:
                self._inject(direction.other, outcome.across, "; ".join(outcome.trail))
            except OverflowError as error:
                self.host.complain(f"{'; '.join(outcome.trail)}: {error}", None)
        if outcome.delay:
            self.host.later(outcome.delay, lambda: self._due(direction, step))
        else:
            step.ready = True

    def _note_version(self, direction: Direction, shown: Sequence[Message | Raw]) -> None:
        """Remember what a node is shown of the other: each leg has its own agreed version."""
        for each in shown:
            if isinstance(each, Message) and isinstance(each.record, Version):
                self._shown[direction] = each.record.version
        client, upstream = self.core.client.version, self.core.upstream.version
        if client is None or upstream is None:
            return
        to_client = self._shown.get(Direction.TO_CLIENT, upstream.version)
        to_upstream = self._shown.get(Direction.TO_UPSTREAM, client.version)
        if (to_client, to_upstream) != (upstream.version, client.version):
            self.core.set_versions(
                min(client.version & 0xFFFFFFFF, to_client & 0xFFFFFFFF),
                min(upstream.version & 0xFFFFFFFF, to_upstream & 0xFFFFFFFF),
            )

    def _due(self, direction: Direction, step: Step) -> None:
        step.ready = True
        self._flush(direction)

    def _flush(self, direction: Direction) -> None:
        line = self._lines[direction]
        steps = line.take_ready()
        deliveries = [each for step in steps for each in step.deliveries]
        if deliveries:
            self._pass(direction, deliveries)
            if added := [step for step in steps if step.added_size]:
                self._injections[direction].sent(added, full=self.host.is_full(direction))
        close = next((step.close for step in steps if step.close is not None), None)
        if close is not None:
            self.host.close(close)
        self._bound(direction, line)
        if line.ended and not len(line):
            line.ended = False
            self.host.finish(direction)

    def _pass(
        self, direction: Direction, deliveries: Sequence[Delivery], sent: bytes | None = None
    ) -> None:
        if sent is None:
            parts = [each.raw if each.sent is None else each.sent for each in deliveries]
            sent = parts[0] if len(parts) == 1 else b"".join(parts)
        self.host.send(direction, sent)
        self.host.tell(direction, deliveries)

    def _bound(self, direction: Direction, line: Line) -> None:
        """Read no more while too much waits, and go on when half of it has gone."""
        if direction not in self._held:
            if line.held > MOST_HELD or len(line) > MOST_STEPS:
                self._held.add(direction)
                self.host.hold(direction, True)
        elif line.held <= MOST_HELD // 2 and len(line) <= MOST_STEPS // 2:
            self._held.remove(direction)
            self.host.hold(direction, False)

    # What plugins make.

    def _made(self, sendable: Sendable, direction: Direction) -> Message | Raw:
        codec = self.core.codec_to(direction)
        if isinstance(sendable, MessageRecord):
            return Message.of(sendable, direction, codec)
        if isinstance(sendable, Message) and sendable.codec.params != codec.params:
            record = sendable.record  # the receiver reads another version, or no witness
            return sendable if record is None else Message.of(record, direction, codec)
        return sendable

    def _injection(self, made: Message | Raw, direction: Direction, words: str) -> Delivery:
        given = made if isinstance(made, Message) else made.raw
        return self.core.inject(direction, self.host.now(), given, (words,))

    # What is told to plugins.

    def look_ready(self) -> None:
        """Tell the plugins, once, when both sides have finished the handshake."""
        if not self._ready and self.core.is_ready:
            self._ready = True
            self._event("handshake")

    def _event(self, name: str, *arguments: Any) -> None:
        for plugin in tuple(self._chain.plugins):
            hook = plugin.event(name)
            if hook is None:
                continue
            try:
                answer = hook(self._sessions[plugin], *arguments)
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                self._failed(plugin, hook.__name__, error)
                continue
            if inspect.iscoroutine(answer):
                self.host.run(self._told(plugin, hook.__name__, answer), bool)

    async def _told(self, plugin: Hooks, hook: str, answer: Coroutine[Any, Any, Any]) -> None:
        try:
            await self.host.limited(answer, plugin.patience)
        except Exception as error:
            self._failed(plugin, hook, error)

    def _failed(self, plugin: Hooks, hook: str, error: BaseException) -> None:
        self.host.complain(f"plugin {plugin.name}: {hook} failed: {words_of(error)}", error)

    def _breach(self, plugin: Hooks, words: str) -> None:
        self.host.complain(f"plugin {plugin.name}: {words}, and all sessions stood still", None)
        if plugin.standing.breach():
            self.host.complain(f"plugin {plugin.name}: is asked no more", None)

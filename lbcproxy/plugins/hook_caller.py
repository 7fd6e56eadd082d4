"""Calls the hooks of a session's plugins: in order, within their time, whatever they raise."""

from __future__ import annotations

import enum
import inspect
import time
from collections.abc import Callable, Coroutine

from lbcproxy.interrupt import is_ctrl_c, words_of
from lbcproxy.plugins.hooks import Hooks, PluginChain
from lbcproxy.plugins.host import PipelineHost
from lbcproxy.plugins.outcome import Outcome
from lbcproxy.plugins.session_view import LiveSession
from lbcproxy.plugins.verdicts import Verdict
from lbcproxy.session.message import Message

__all__ = ["FailurePolicy", "HookCaller"]

STALL_LIMIT = 0.25
"""Seconds that a hook may take without awaiting: it blocks all sessions."""


class FailurePolicy(enum.StrEnum):
    """What happens to a message whose plugin fails."""

    OPEN = "open"
    """It is sent as it arrived."""
    CLOSED = "closed"
    """It is dropped."""


class HookCaller:
    """Calls hooks with messages and events.

    Args:
        chain: The plugins.
        host: What runs the pipeline.
        view: Makes the session that a plugin sees.
        policy: What happens to a message whose plugin fails, a `FailurePolicy` or its value.
    """

    def __init__(
        self,
        chain: PluginChain,
        host: PipelineHost,
        view: Callable[[Hooks], LiveSession],
        policy: str,
    ) -> None:
        self._host = host
        self._view = view
        self._policy = FailurePolicy(policy)
        self._sessions: dict[Hooks, LiveSession] = {}
        self.chain = chain
        """The plugins; others may take their place at any time, from the next message on."""

    def is_for(self, message: Message) -> bool:
        """Return whether any plugin has a hook for a message."""
        return self.chain.asks_for(message.command, error=self._has_error(message))

    def decide(self, outcome: Outcome) -> tuple[Coroutine[object, object, None], bool]:
        """Return what calls the hooks for a message, and whether it may await something.

        The hooks are called in order, each with what those before it have left of the message.
        What they decide is in `outcome` when the coroutine has ended.
        """
        message = outcome.message
        error = self._has_error(message)
        may_await = self.chain.is_async(message.command, error=error)
        return self._decide(outcome, error, may_await), may_await

    def event(self, name: str, *arguments: object) -> None:
        """Call the hooks for an event: `start`, `handshake` or `end`."""
        for plugin in tuple(self.chain.plugins):
            hook = plugin.event(name)
            if hook is None:
                continue
            try:
                answer = hook(self._session(plugin), *arguments)
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                self._report_failure(plugin, hook.__name__, error)
                continue
            if inspect.iscoroutine(answer):
                self._host.run(self._await_event(plugin, hook.__name__, answer), bool)

    def later(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        """Call a function later for the plugin of a name, which is reported if that fails."""

        def due() -> None:
            try:
                call()
            except BaseException as error:
                if is_ctrl_c(error):
                    raise
                words = f"plugin {name}: a function called later failed: {words_of(error)}"
                self._host.complain(words, error)

        self._host.later(seconds, due)

    def _session(self, plugin: Hooks) -> LiveSession:
        """Return the session as a plugin sees it: the same object for each hook."""
        if plugin not in self._sessions:
            self._sessions[plugin] = self._view(plugin)
        return self._sessions[plugin]

    def _has_error(self, message: Message) -> bool:
        return self.chain.wants_errors and message.error is not None

    async def _decide(self, outcome: Outcome, error: bool, may_await: bool) -> None:
        for plugin in tuple(self.chain.plugins):
            for message in tuple(outcome.messages):
                if isinstance(message, Message):
                    await self._call_hooks(plugin, outcome, message, error, may_await)

    async def _call_hooks(
        self, plugin: Hooks, outcome: Outcome, message: Message, error: bool, may_await: bool
    ) -> None:
        for hook in plugin.for_message(message.command, error=error):
            started = time.perf_counter()
            awaited = False
            try:
                answer = hook(self._session(plugin), message)
                if inspect.iscoroutine(answer) and not may_await:
                    answer.close()
                    raise TypeError("a hook that waits is written with `async def`")
                if inspect.iscoroutine(answer):
                    awaited = True
                    answer = await self._host.limited(answer, plugin.timeout)
                _apply(plugin.name, outcome, answer, message)
            except BaseException as failure:
                stopped = awaited and not isinstance(failure, Exception)
                if stopped or is_ctrl_c(failure):
                    raise
                self._report_failure(plugin, hook.__name__, failure)
                if self._policy is FailurePolicy.CLOSED:
                    outcome.fail(plugin.name, f"{hook.__name__} failed")
                return
            taken = time.perf_counter() - started
            if taken > STALL_LIMIT and not awaited:
                self._report_stall(plugin, f"{hook.__name__} took {taken:.1f} s")
            if not any(each is message for each in outcome.messages):
                return

    async def _await_event(
        self, plugin: Hooks, hook: str, answer: Coroutine[object, object, object]
    ) -> None:
        try:
            await self._host.limited(answer, plugin.timeout)
        except Exception as error:
            self._report_failure(plugin, hook, error)

    def _report_failure(self, plugin: Hooks, hook: str, error: BaseException) -> None:
        self._host.complain(f"plugin {plugin.name}: {hook} failed: {words_of(error)}", error)

    def _report_stall(self, plugin: Hooks, words: str) -> None:
        self._host.complain(f"plugin {plugin.name}: {words}, and blocked all sessions", None)
        if plugin.health.record_stall():
            self._host.complain(f"plugin {plugin.name}: is disabled", None)


def _apply(name: str, outcome: Outcome, answer: object, message: Message) -> None:
    """Apply what a hook returned: None, a verdict, or a list of them."""
    answers = answer if isinstance(answer, list | tuple) else (answer,)
    verdicts = [each for each in answers if each is not None]
    for each in verdicts:
        if not isinstance(each, Verdict):
            raise TypeError(
                f"{each!r} is not a verdict: return None, Drop, Replace, Delay, Inject or Close"
            )
    if verdicts:
        outcome.apply(name, verdicts, message)

"""All proxies of a config as one Twisted service, which can be changed while it runs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy.capture import Loss
from lbcproxy.config import (
    Config,
    ConfigError,
    Proxy,
    control_address,
    mode_of,
)
from lbcproxy.control import Api, ControlPort
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy import ProxyService, ProxySettings, Shared
from lbcproxy.proxy.interception import Interception
from lbcproxy.service.events import Events
from lbcproxy.service.logs import Logs
from lbcproxy.service.plugins import PluginFiles
from lbcproxy.service.recordings import Recorders, Recordings
from lbcproxy.service.running_proxy import RunningProxy, moved, settings_of, stays
from lbcproxy.session import Observer
from lbcproxy.wire.engine import missing_engine_warning

__all__ = ["LbcproxyService"]

# Not in the class: Twisted would give it the name of whatever class is made of it.
LOG = Logger(namespace="lbcproxy.service", observer=LOG_FILTER)


class LbcproxyService(Service):
    """What a config describes, at work.

    `observers` are told of every session, behind the recording; `reads_all` says that one of them
    reads every message. `reload` gives the config as it is now, for `hang_up`, or raises
    ConfigError. `on_failure` is called, once, if recording fails and the config wants everything to
    end then.
    """

    def __init__(
        self,
        reactor: Any,
        config: Config,
        logs: Logs,
        *,
        observers: Sequence[Observer] = (),
        reads_all: bool = False,
        reload: Callable[[], Config] | None = None,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        self.config = config
        self._reload = reload
        self.events = Events()
        self.failed = ""
        """Why everything was ended before its time, if it was."""
        self._reactor = reactor
        self._logs = logs
        self._observers = (*observers, self.events)  # which counts what they have read
        self._reads_all = reads_all
        self.on_failure = on_failure
        self._shared = Shared(config.memory, reactor)
        self._plugins = PluginFiles(reactor, self._plugins_changed)
        self._recordings = Recordings(reactor, self._shared, config.record_queue, self._from_disk)
        self._running_proxies: dict[str, RunningProxy] = {}
        self._ending: list[ProxyService] = []  # replaced, with sessions that are not over
        self._stopped: Deferred[Any] | None = None
        self._interception = Interception(reactor)
        self._control = ControlPort(reactor, Api(self, self._interception))
        self._let_intercept(config)
        self._seed = secrets.randbits(32)
        self._next: tuple[Config, str] | None = None
        self._refused: dict[str, str] = {}
        self._changing = False
        self._begun = False

    @property
    def lost(self) -> Loss:
        """What could not be recorded."""
        return self._recordings.lost

    # Start and stop.

    def open(self) -> None:
        """Open every listener and file; raises CannotListen or CaptureError, with none left."""
        self.privilegedStartService()
        self.startService()

    def privilegedStartService(self) -> None:
        """Open the listeners, before twistd gives up its rights to ports below 1024."""
        with self._or_nothing():
            for proxy in self.config.proxies:
                if proxy.enabled:
                    self._start(proxy)
            if (address := control_address(self.config.control)) is not None:
                self._control.open(address)

    def startService(self) -> None:
        """Open the files, as whoever will write them."""
        super().startService()  # type: ignore[no-untyped-call]
        with self._or_nothing():
            self._recordings.begin()
        self._begun = True
        for running in self._running_proxies.values():
            running.say_listening()
            running.say_faults(self._seed_now)
        self._control.say()
        if (words := missing_engine_warning()) is not None:
            LOG.info("{words}", words=words)

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            for running in self._running_proxies.values():
                running.service.stopService()
            self._plugins.stop()
            self._control.close()
            self._recordings.close()
            raise

    def stopService(self) -> Deferred[Any]:
        """Stop listening, end every session in order, finish the files; may be called again."""
        if self._stopped is None:
            super().stopService()  # type: ignore[no-untyped-call]
            ends = [self._control.close(), *(each.stopService() for each in self._services)]
            self._stopped = DeferredList(ends)
            self._stopped.addCallback(lambda _: self._finish())
        waiting: Deferred[Any] = Deferred()

        def pass_on(result: Any) -> Any:
            waiting.callback(None)
            return result

        self._stopped.addBoth(pass_on)
        return waiting

    def abort(self) -> None:
        """End every session at once."""
        for service in self._services:
            service.abort()

    def dump_rings(self) -> None:
        """Save what rings hold, if nobody has ended the service in order."""
        if self._stopped is None:
            with suppress(Exception):  # it may be what the program dies of
                self._shared.inspections.run_all()
            self._recordings.dump_rings()

    @property
    def _services(self) -> list[ProxyService]:
        return [*(each.service for each in self._running_proxies.values()), *self._ending]

    def _plugins_changed(self) -> None:
        for service in self._services:
            service.plugins_changed()

    def _finish(self) -> None:
        self._plugins.stop()
        whole = self._recordings.close()
        words = self.events.farewell()
        if self.lost:
            words += f"; {self.lost}"
        elif not whole:
            words += "; the disk takes nothing any more: what was recorded last is missing"
        words += self._recordings.farewell()
        say = LOG.warn if self.lost or not whole else LOG.info
        say("{words}", words=words)
        self.failed = self.failed or (str(self.lost) if self.lost else "")
        self.failed = self.failed or ("" if whole else "the disk takes nothing any more")

    # Change.

    def hang_up(self) -> Deferred[None]:
        """Read the config again, change what changed, and open the files anew (SIGHUP)."""
        done = Deferred.fromCoroutine(self._hang_up())
        done.addErrback(lambda failure: LOG.failure("SIGHUP", failure))
        return done

    async def _hang_up(self) -> None:
        self._shared.inspections.run_all()  # what passed before belongs to the files of before
        try:
            if self._reload is not None:
                await self.change(self._reload())
        except ConfigError as error:
            LOG.error("the config is left as it was: {error}", error=error)
        try:
            self._logs.reopen()
        except LbcproxyError as error:
            LOG.error("{error}", error=error)
        self._recordings.reopen()

    async def change(self, config: Config, why: str = "config read again") -> None:
        """Make of what runs what another config describes; what is the same is not touched.

        While one change is under way the next waits; of several that wait the last counts.
        """
        self._next = config, why
        if self._changing:
            return
        self._changing = True
        try:
            while self._next is not None and self._stopped is None:
                (config, why), self._next = self._next, None
                await self._change(config, why)
        finally:
            self._changing = False

    async def _change(self, config: Config, why: str) -> None:
        self._refused = {}
        wanted = {proxy.name: proxy for proxy in config.proxies if proxy.enabled}
        self._change_process(config)
        self.config = config
        # Ports that are to be used otherwise have to be free first. One that is new is tried
        # first: if it cannot be had, what there is goes on.
        closing = []
        for name, running in list(self._running_proxies.items()):
            proxy = wanted.get(name)
            if proxy is None or (moved(running.proxy, proxy) and stays(running.proxy, proxy)):
                told = "no longer configured" if proxy is None else "another place is configured"
                closing.append(self._retire(name, running, told))
        await DeferredList(closing)
        for name, proxy in wanted.items():
            if self._stopped is not None:
                return
            try:
                self._start_or_change(name, proxy)
            except LbcproxyError as error:
                self._refused[name] = str(error)
                LOG.error("proxy {name}: {error}", name=name, error=error)
            except Exception:  # a defect must not cost the proxies behind this one
                self._refused[name] = "a defect of lbcproxy; the log says more"
                LOG.failure("proxy {name}", name=name)
        self._recordings.keep([each.kept for each in self._running_proxies.values()])
        LOG.info("{why}: {count} proxies", why=why, count=len(self._running_proxies))

    def _change_process(self, config: Config) -> None:
        self._shared.budget.most = config.memory
        self._recordings.disk.most = config.record_queue
        try:
            self.set_logs(config)
        except LbcproxyError as error:
            LOG.error("{error}", error=error)
        address = control_address(config.control)
        if address != self._control.address:
            self._control.move(address)
        self._let_intercept(config)

    def _let_intercept(self, config: Config) -> None:
        """Have sessions to come held by hand if there is an API to do it with."""
        self._shared.interception = None if config.control is None else self._interception

    # What the control API wants.

    def recordings(self) -> Recordings:
        """Give what keeps the sessions, after all that has passed was told to it."""
        self._shared.inspections.run_all()
        return self._recordings

    def ask_again(self) -> None:
        """Have open sessions know which messages are asked for now."""
        self._plugins_changed()

    def listening(self, name: str) -> Endpoint | None:
        """Where a proxy listens; None if it does not."""
        running = self._running_proxies.get(name)
        return None if running is None else running.modes[0].listen

    def settle(self, name: str) -> None:
        """Have a proxy keep the port that was picked for it, until the config is read again."""
        running, listens = self._running_proxies.get(name), self.listening(name)
        if running is None or listens is None or listens == mode_of(running.proxy).listen:
            return
        before = running.proxy
        running.proxy = msgspec.structs.replace(before, listen=str(listens))
        proxies = [running.proxy if each == before else each for each in self.config.proxies]
        self.config = msgspec.structs.replace(self.config, proxies=tuple(proxies))

    async def apply(self, config: Config) -> dict[str, str]:
        """Change, and give what could not be started, by name, and why."""
        await self.change(config, "changed by the control API")
        return dict(self._refused)

    # The process.

    def set_logs(self, config: Config) -> None:
        """Log as the config says; raises LbcproxyError."""
        self._logs.set(level=config.log_level, path=config.log_file, json=config.log_json)

    def _retire(self, name: str, running: RunningProxy, why: str) -> Deferred[Any]:
        if self._running_proxies[name] is running:
            del self._running_proxies[name]
        self._ending.append(running.service)
        LOG.info("proxy {name} stops: {why}", name=name, why=why)
        closed = running.service.stop_listening()
        running.service.stopService().addCallback(lambda _: self._ending.remove(running.service))
        return closed

    def _start_or_change(self, name: str, proxy: Proxy) -> None:
        running = self._running_proxies.get(name)
        if running is None:
            self._start(proxy)
        elif moved(running.proxy, proxy):
            self._start(proxy)
            self._retire(name, running, "another place is configured")
        elif running.proxy != proxy:
            kept = self._recordings.of(self.config, proxy)
            running.service.change(self._settings(proxy), self._told(kept))
            before = running.proxy
            running.proxy, running.kept = proxy, kept
            if before.faults != proxy.faults:
                running.say_faults(self._seed_now)
            if before != msgspec.structs.replace(proxy, faults=before.faults):
                LOG.info("proxy {name}: settings changed for sessions to come", name=name)

    # One proxy.

    def _start(self, proxy: Proxy) -> None:
        kept = self._recordings.of(self.config, proxy)
        settings = self._settings(proxy)
        service = ProxyService(self._reactor, settings, self._told(kept), shared=self._shared)
        modes = _at_once(service.listen())
        service.startService()  # type: ignore[no-untyped-call]
        running = RunningProxy(proxy, service, kept, modes)
        self._running_proxies[proxy.name] = running
        if self._begun:
            running.say_listening()
            running.say_faults(self._seed_now)

    @property
    def _seed_now(self) -> int:
        return self._seed if self.config.seed is None else self.config.seed

    def _settings(self, proxy: Proxy) -> ProxySettings:
        plugins = self._plugins.of(proxy)
        return settings_of(proxy, plugins=plugins, reads_all=self._reads_all, seed=self._seed_now)

    def _told(self, kept: Recorders) -> tuple[Observer, ...]:
        return (*kept.observers, *self._observers)

    def _from_disk(self, text: str, bad: bool, stop: bool) -> None:
        """Hear of a recording, in whatever thread."""
        self._reactor.callFromThread(self._hear, text, bad, stop)

    def _hear(self, text: str, bad: bool, stop: bool) -> None:
        if not bad:
            LOG.info("{text}", text=text)
            return
        first = stop and not self.failed
        end = "; all sessions are ended" if first else ""
        LOG.error("{text}{end}", text=text, end=end)
        if first:
            self.failed = text
            self.stopService().addCallback(lambda _: self.on_failure())


def _at_once(awaitable: Any) -> Any:
    """Give what a coroutine gives that does not really wait; raises what it raises."""
    results: list[Any] = []
    Deferred.fromCoroutine(awaitable).addBoth(results.append)
    assert results, "listening at a TCP port waits for nothing"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]

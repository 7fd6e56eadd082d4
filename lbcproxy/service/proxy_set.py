"""The proxies of a service: started, changed and stopped as the config says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy.config import Config, Proxy
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy import ProxyService, ProxySettings, Shared
from lbcproxy.reactor import Reactor
from lbcproxy.service.plugins import PluginFiles
from lbcproxy.service.recordings import Recorders, Recordings
from lbcproxy.service.running_proxy import RunningProxy, has_moved, keeps_address, settings_of
from lbcproxy.session import Observer

__all__ = ["ProxySet"]

LOG = Logger(namespace="lbcproxy.service", observer=LOG_FILTER)
R = TypeVar("R")


class ProxySet:
    """The proxies that run.

    Args:
        reactor: For listening and connecting.
        shared: What all proxies share.
        recordings: What records the sessions.
        observers: Notified of every session, after the recording.
        reads_all: Whether one of the observers reads every message.
        seed: Returns the seed of the random numbers that faults use.
    """

    def __init__(
        self,
        reactor: Reactor,
        shared: Shared,
        recordings: Recordings,
        observers: Sequence[Observer],
        *,
        reads_all: bool,
        seed: Callable[[], int],
    ) -> None:
        self._reactor = reactor
        self._shared = shared
        self._recordings = recordings
        self._observers = tuple(observers)
        self._reads_all = reads_all
        self._seed = seed
        self._plugins = PluginFiles(reactor, self.refresh_hooks)
        self._running: dict[str, RunningProxy] = {}
        self._retired: list[ProxyService] = []  # no longer configured, with open sessions
        self._logs = False

    def __len__(self) -> int:
        return len(self._running)

    @property
    def services(self) -> list[ProxyService]:
        """The services of all proxies, including those that only finish their sessions."""
        return [*(each.service for each in self._running.values()), *self._retired]

    @property
    def recorders(self) -> Collection[Recorders]:
        """What records the proxies that run."""
        return [each.recorders for each in self._running.values()]

    def get(self, name: str) -> Proxy | None:
        """Return the settings of a proxy that runs."""
        running = self._running.get(name)
        return None if running is None else running.proxy

    def listening(self, name: str) -> Endpoint | None:
        """Return the address a proxy listens at; None if it does not listen."""
        running = self._running.get(name)
        return None if running is None else running.modes[0].listen

    def set_listen(self, name: str, listen: Endpoint) -> Proxy:
        """Put the address a proxy listens at into its settings; return the new settings."""
        running = self._running[name]
        running.proxy = msgspec.structs.replace(running.proxy, listen=str(listen))
        return running.proxy

    def open(self, config: Config) -> None:
        """Open the listeners of all enabled proxies; raises CannotListen."""
        for proxy in config.proxies:
            if proxy.enabled:
                self._start(config, proxy)

    def log_all(self) -> None:
        """Log where the proxies listen and what faults they have; also of those started later."""
        self._logs = True
        for running in self._running.values():
            self._log(running)

    def refresh_hooks(self) -> None:
        """Make open sessions ask again which messages their hooks want."""
        for service in self.services:
            service.plugins_changed()

    def stop_plugins(self) -> None:
        """Stop checking whether plugin files have changed."""
        self._plugins.stop()

    async def change(self, config: Config, is_stopped: Callable[[], bool]) -> dict[str, str]:
        """Run the proxies of another config; what is the same is left alone.

        Args:
            config: The config.
            is_stopped: Whether the service has been stopped, so that nothing is to be started.

        Returns:
            The proxies that could not be started, by name, and why.
        """
        wanted = {proxy.name: proxy for proxy in config.proxies if proxy.enabled}
        # A port that another proxy is going to use has to be free first. A new port is tried
        # before the old one is closed: if it is not available, the proxy goes on as it is.
        closing = []
        for name, running in list(self._running.items()):
            proxy = wanted.get(name)
            if proxy is None:
                closing.append(self._retire(name, running, "no longer configured"))
            elif has_moved(running.proxy, proxy) and keeps_address(running.proxy, proxy):
                closing.append(self._retire(name, running, "its settings changed"))
        await DeferredList(closing)
        refused: dict[str, str] = {}
        for name, proxy in wanted.items():
            if is_stopped():
                break
            try:
                self._start_or_change(config, proxy)
            except LbcproxyError as error:
                refused[name] = str(error)
                LOG.error("proxy {name}: {error}", name=name, error=error)
            except Exception:  # a bug must not cost the proxies after this one
                refused[name] = "a bug in lbcproxy; the log has the details"
                LOG.failure("proxy {name}", name=name)
        return refused

    def _retire(self, name: str, running: RunningProxy, reason: str) -> Deferred[object]:
        """Stop a proxy; the Deferred fires when its port is free, before its sessions end."""
        if self._running[name] is running:
            del self._running[name]
        self._retired.append(running.service)
        LOG.info("proxy {name} stops: {why}", name=name, why=reason)
        closed = running.service.stop_listening()
        running.service.stopService().addCallback(lambda _: self._retired.remove(running.service))
        return closed

    def _start_or_change(self, config: Config, proxy: Proxy) -> None:
        running = self._running.get(proxy.name)
        if running is None:
            self._start(config, proxy)
        elif has_moved(running.proxy, proxy):
            self._start(config, proxy)
            self._retire(proxy.name, running, "its addresses changed")
        elif running.proxy != proxy:
            self._change(config, proxy, running)

    def _change(self, config: Config, proxy: Proxy, running: RunningProxy) -> None:
        recorders = self._recordings.of(config, proxy)
        running.service.change(self._settings(proxy), self._observers_of(recorders))
        before = running.proxy
        running.proxy, running.recorders = proxy, recorders
        if before.faults != proxy.faults:
            running.log_faults(self._seed())
        if before != msgspec.structs.replace(proxy, faults=before.faults):
            LOG.info("proxy {name}: new settings apply to new sessions", name=proxy.name)

    def _start(self, config: Config, proxy: Proxy) -> None:
        recorders = self._recordings.of(config, proxy)
        settings, observers = self._settings(proxy), self._observers_of(recorders)
        service = ProxyService(self._reactor, settings, observers, shared=self._shared)
        modes = _result_of(service.listen())
        service.startService()  # type: ignore[no-untyped-call]
        running = RunningProxy(proxy, service, recorders, modes)
        self._running[proxy.name] = running
        if self._logs:
            self._log(running)

    def _log(self, running: RunningProxy) -> None:
        running.log_addresses()
        running.log_faults(self._seed())

    def _settings(self, proxy: Proxy) -> ProxySettings:
        plugins = self._plugins.of(proxy)
        return settings_of(proxy, plugins=plugins, reads_all=self._reads_all, seed=self._seed())

    def _observers_of(self, recorders: Recorders) -> tuple[Observer, ...]:
        return (*recorders.observers, *self._observers)


def _result_of(awaitable: Awaitable[R]) -> R:
    """Return the result of a coroutine that does not actually wait; raises what it raises."""
    results: list[R | Failure] = []

    async def run() -> R:
        return await awaitable

    Deferred.fromCoroutine(run()).addBoth(results.append)
    assert results, "listening at a TCP port does not wait for anything"
    [result] = results
    if isinstance(result, Failure):
        result.raiseException()
    return result

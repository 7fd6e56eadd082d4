"""All proxies of a config as one Twisted service, which can be changed while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from lbcproxy import networks
from lbcproxy.background import Background
from lbcproxy.capture import Loss, Recording, RecordingSettings
from lbcproxy.config import Config, ConfigError, Proxy, load, mode_of, read
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.log import GATE
from lbcproxy.proxy import Mode, ProxyService, ProxySettings, Shared, Shown
from lbcproxy.proxy.modes import all_modes
from lbcproxy.service.events import Events
from lbcproxy.service.logs import Logs
from lbcproxy.session import Observer
from lbcproxy.session.session import STREAM_ABOVE
from lbcproxy.wire.engine import slower

__all__ = ["LbcproxyService"]

# Not in the class: Twisted would give it the name of whatever class is made of it.
LOG = Logger(namespace="lbcproxy.service", observer=GATE)
PATIENCE = 5.0
"""Seconds that the end waits for the disk."""
PLACE = ("network", "mode", "listen", "upstream")
"""Settings that make another proxy of one: its sessions end."""


class _Running(msgspec.Struct):
    """A proxy that listens."""

    proxy: Proxy
    service: ProxyService
    recording: Recording | None
    modes: list[Mode]


class LbcproxyService(Service):
    """What a config describes, at work.

    `observers` are told of every session, behind the recording; `reads_all` says that one of them
    reads every message. `path` is the config's file, which `hang_up` reads again. `given_up` is
    called, once, if recording fails and the config wants everything to end then.
    """

    def __init__(
        self,
        reactor: Any,
        config: Config,
        logs: Logs,
        *,
        observers: Sequence[Observer] = (),
        reads_all: bool = False,
        path: str | None = None,
        given_up: Callable[[], object] = lambda: None,
    ) -> None:
        self.config = config
        self.path = path
        self.events = Events()
        self.failed = ""
        """Why everything was ended before its time, if it was."""
        self._reactor = reactor
        self._logs = logs
        self._observers = (self.events, *observers)
        self._reads_all = reads_all
        self.given_up = given_up
        self._shared = Shared(config.memory)
        self._disk = Background(config.record_queue)
        self._running_proxies: dict[str, _Running] = {}
        self._ending: list[ProxyService] = []  # replaced, with sessions that are not over
        self._recordings: dict[tuple[Any, ...], Recording] = {}
        self._used: list[Recording] = []
        self._stopped: Deferred[Any] | None = None
        self._reloading = False
        self._begun = False

    @property
    def lost(self) -> Loss:
        """What could not be recorded."""
        total = Loss()
        for recording in self._used:
            total += recording.lost
        return total

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

    def startService(self) -> None:
        """Open the files, as whoever will write them."""
        super().startService()  # type: ignore[no-untyped-call]
        with self._or_nothing():
            for recording in self._used:
                self._open_recording(recording)
        self._begun = True
        for running in self._running_proxies.values():
            self._say_listening(running)
        if (words := slower()) is not None:
            LOG.info("{words}", words=words)

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            for running in self._running_proxies.values():
                running.service.stopService()
            self._close_recordings()
            raise

    def stopService(self) -> Deferred[Any]:
        """Stop listening, end every session in order, finish the files; may be called again."""
        if self._stopped is None:
            super().stopService()  # type: ignore[no-untyped-call]
            ends = [each.stopService() for each in self._services]
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

    @property
    def _services(self) -> list[ProxyService]:
        return [*(each.service for each in self._running_proxies.values()), *self._ending]

    def _finish(self) -> None:
        whole = self._close_recordings()
        words = self.events.farewell()
        names = [each.last.name for each in self._used if each.last is not None]
        if self.lost:
            words += f"; {self.lost}"
        elif not whole:
            words += "; the disk takes nothing any more: what was recorded last is missing"
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            words += f"; recorded in {names[-1]}{more}"
        say = LOG.warn if self.lost or not whole else LOG.info
        say("{words}", words=words)
        self.failed = self.failed or (str(self.lost) if self.lost else "")
        self.failed = self.failed or ("" if whole else "the disk takes nothing any more")

    def _close_recordings(self) -> bool:
        for recording in self._used:
            recording.close()
        return self._disk.close(PATIENCE)

    # Change.

    def hang_up(self) -> Deferred[None]:
        """Read the config again, change what changed, and open the files anew (SIGHUP)."""
        return Deferred.fromCoroutine(self._hang_up())

    async def _hang_up(self) -> None:
        try:
            if self.path is not None:
                await self.change(load(*read(self.path)))
        except ConfigError as error:
            LOG.error("the config is left as it was: {error}", error=error)
        try:
            self._logs.reopen()
        except LbcproxyError as error:
            LOG.error("{error}", error=error)
        for recording in self._recordings.values():
            recording.reopen()

    async def change(self, config: Config) -> None:
        """Make of what runs what another config describes; what is the same is not touched."""
        if self._stopped is not None or self._reloading:
            return
        self._reloading = True
        try:
            await self._change(config)
        finally:
            self._reloading = False

    async def _change(self, config: Config) -> None:
        wanted = {proxy.name: proxy for proxy in config.proxies if proxy.enabled}
        self._change_process(config)
        self.config = config
        closing = []
        for name, running in list(self._running_proxies.items()):
            proxy = wanted.get(name)
            if proxy is None or _place(proxy) != _place(running.proxy):
                why = "no longer configured" if proxy is None else "another place is configured"
                closing.append(self._retire(name, running, why))
        await DeferredList(closing)
        for name, proxy in wanted.items():
            try:
                self._start_or_change(name, proxy)
            except LbcproxyError as error:
                LOG.error("proxy {name}: {error}", name=name, error=error)
        self._forget_recordings()
        LOG.info("config read again: {count} proxies", count=len(self._running_proxies))

    def _change_process(self, config: Config) -> None:
        self._shared.budget.most = config.memory
        self._disk.most = config.record_queue
        try:
            self.set_logs(config)
        except LbcproxyError as error:
            LOG.error("{error}", error=error)

    def set_logs(self, config: Config) -> None:
        """Log as the config says; raises LbcproxyError."""
        self._logs.set(level=config.log_level, path=config.log_file, json=config.log_json)

    def _retire(self, name: str, running: _Running, why: str) -> Deferred[Any]:
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
        elif running.proxy != proxy:
            recording = self._recording(proxy)
            running.service.change(self._settings(proxy), self._told(recording))
            running.proxy, running.recording = proxy, recording
            LOG.info("proxy {name}: settings changed for sessions to come", name=name)

    # One proxy.

    def _start(self, proxy: Proxy) -> None:
        recording = self._recording(proxy)
        settings = self._settings(proxy)
        service = ProxyService(self._reactor, settings, self._told(recording), shared=self._shared)
        modes = _at_once(service.listen())
        service.startService()  # type: ignore[no-untyped-call]
        running = _Running(proxy, service, recording, modes)
        self._running_proxies[proxy.name] = running
        if self._begun:
            self._say_listening(running)

    def _say_listening(self, running: _Running) -> None:
        for mode in running.modes:
            LOG.info(
                "{network}: listening at {listen}, leading to {upstream}",
                network=running.proxy.network,
                listen=mode.listen,
                upstream=mode.upstream,
                proxy=running.proxy.name,
            )

    def _settings(self, proxy: Proxy) -> ProxySettings:
        agent = proxy.user_agent
        return ProxySettings(
            network=networks.get(str(proxy.network)),
            modes=(mode_of(proxy),),
            dial_timeout=proxy.dial_timeout,
            handshake_timeout=proxy.handshake_timeout,
            idle_timeout=proxy.idle_timeout,
            max_sessions=proxy.max_sessions,
            max_sessions_per_address=proxy.max_sessions_per_address,
            stream_above=None if self._reads_all else STREAM_ABOVE,
            shown=Shown(
                user_agent=None if agent is None else agent.encode(),
                services=proxy.services,
                protocol_version=proxy.protocol_version,
                relay=proxy.relay,
                height=proxy.height,
                pass_pings=proxy.pass_pings,
            ),
        )

    def _told(self, recording: Recording | None) -> tuple[Observer, ...]:
        return self._observers if recording is None else (recording, *self._observers)

    # Recordings.

    def _recording(self, proxy: Proxy) -> Recording | None:
        """Give the recording a proxy's sessions go to; proxies may share one."""
        if proxy.record is None:
            return None
        changes = bool(all_modes()[proxy.mode].CHANGES)
        settings = RecordingSettings(
            pattern=proxy.record,
            per=proxy.record_per,
            legs=proxy.record_legs,
            rotate_size=proxy.rotate_size,
            rotate_every=proxy.rotate_every,
        )
        own = "" if proxy.record_per == "run" else proxy.name
        key = (settings, proxy.record_failure, proxy.network, changes, own)
        recording = self._recordings.get(key)
        if recording is None:
            stop = proxy.record_failure == "stop"
            recording = Recording(
                settings,
                self._disk,
                lambda text, bad: self._from_disk(text, bad, stop),
                network=str(proxy.network),
                name=proxy.name,
                changes=changes,
                now=time.time_ns,
            )
            if self._begun:
                self._open_recording(recording)
            self._recordings[key] = recording
            self._used.append(recording)
        return recording

    def _open_recording(self, recording: Recording) -> None:
        """Begin it, in a new file if the one of its name may be another recording's."""
        recording.open(fresh=self._begun)
        file = recording.last
        if file is None:
            return
        if file.cut:
            LOG.warn("cut {cut:,} bytes of a torn block off {path}", cut=file.cut, path=file.path)
        doing = "continuing" if file.continued else "recording to"
        LOG.info("{doing} {file}", doing=doing, file=file.name)

    def _forget_recordings(self) -> None:
        """Close the recordings that no proxy uses any more, behind their last sessions."""
        used = [each.recording for each in self._running_proxies.values()]
        for key, recording in list(self._recordings.items()):
            if recording not in used:
                del self._recordings[key]
                recording.retire()

    def _from_disk(self, text: str, bad: bool, stop: bool) -> None:
        """Hear of a recording, in whatever thread."""
        self._reactor.callFromThread(self._hear, text, bad, stop)

    def _hear(self, text: str, bad: bool, stop: bool) -> None:
        if not bad:
            LOG.info("{text}", text=text)
            return
        end = "; all sessions are ended" if stop else ""
        LOG.error("{text}{end}", text=text, end=end)
        if stop and not self.failed:
            self.failed = text
            self.stopService().addCallback(lambda _: self.given_up())


def _place(proxy: Proxy) -> tuple[object, ...]:
    return tuple(getattr(proxy, name) for name in PLACE)


def _at_once(awaitable: Any) -> Any:
    """Give what a coroutine gives that does not really wait; raises what it raises."""
    results: list[Any] = []
    Deferred.fromCoroutine(awaitable).addBoth(results.append)
    assert results, "listening at a TCP port waits for nothing"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]

"""The service: what a config describes, started, reconfigured while it runs, and stopped."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from lbcproxy.capture import Loss
from lbcproxy.config import Config, ConfigError, control_address, mode_of
from lbcproxy.control import Api, ControlPort
from lbcproxy.endpoint import Endpoint
from lbcproxy.errors import LbcproxyError
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy import Shared
from lbcproxy.proxy.interception import Interception
from lbcproxy.reactor import Reactor
from lbcproxy.service.events import Events
from lbcproxy.service.key_log import KeyLogFile
from lbcproxy.service.logs import Logs
from lbcproxy.service.proxy_set import ProxySet
from lbcproxy.service.recordings import Recordings
from lbcproxy.session import Observer
from lbcproxy.wire.engine import missing_engine_warning

__all__ = ["LbcproxyService"]

# Not in the class: Twisted would name the logger's source after whatever class inherits it.
LOG = Logger(namespace="lbcproxy.service", observer=LOG_FILTER)


class LbcproxyService(Service):
    """All proxies of a config, with their recordings, their log and their control API.

    Args:
        reactor: Twisted's reactor.
        config: What to run.
        logs: The log of the process.
        observers: Notified of every session, after the recording.
        reads_all: Whether one of the observers reads every message.
        reload: Returns the config as its file is now, or raises ConfigError; for `hang_up`.
        on_failure: Called once, if recording fails and the config says to stop then.
    """

    def __init__(
        self,
        reactor: Reactor,
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
        """Why recording failed; empty if it did not."""
        self.on_failure = on_failure
        self._reactor = reactor
        self._logs = logs
        self._shared = Shared(config.memory, reactor)
        self._recordings = Recordings(
            reactor, self._shared, config.record_queue, self._recording_event
        )
        self._key_log = KeyLogFile()
        self._random_seed = secrets.randbits(32)
        self._proxies = ProxySet(
            reactor,
            self._shared,
            self._recordings,
            (*observers, self.events),  # the last, to count errors that the others have found
            reads_all=reads_all,
            seed=lambda: self._random_seed if self.config.seed is None else self.config.seed,
        )
        self._interception = Interception(reactor)
        self._control = ControlPort(reactor, Api(self, self._interception))
        self._set_interception(config)
        self._stopped: Deferred[object] | None = None
        self._next: tuple[Config, str] | None = None
        self._changing = False
        self._refused: dict[str, str] = {}

    @property
    def lost(self) -> Loss:
        """What could not be recorded."""
        return self._recordings.lost

    # Start and stop.

    def open(self) -> None:
        """Open every listener and file, or none; raises CannotListen or CaptureError."""
        self.privilegedStartService()
        self.startService()

    def privilegedStartService(self) -> None:
        """Open the listeners, before twistd gives up its right to ports below 1024."""
        with self._all_or_nothing():
            self._proxies.open(self.config)
            if (address := control_address(self.config.control)) is not None:
                self._control.open(address)

    def startService(self) -> None:
        """Open the files, as the user who is going to write them."""
        super().startService()  # type: ignore[no-untyped-call]
        with self._all_or_nothing():
            self._set_key_log(self.config)
            self._recordings.begin()
        self._proxies.log_all()
        self._control.log_address()
        if (note := missing_engine_warning()) is not None:
            LOG.info("{words}", words=note)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            for service in self._proxies.services:
                service.stopService()
            self._proxies.stop_plugins()
            self._control.close()
            self._recordings.close()
            self._key_log.close()
            raise

    def stopService(self) -> Deferred[None]:
        """Stop listening, end every session in order, and finish the files; may be repeated."""
        if self._stopped is None:
            super().stopService()  # type: ignore[no-untyped-call]
            services = self._proxies.services
            stopping = [self._control.close(), *(each.stopService() for each in services)]
            self._stopped = DeferredList(stopping).addCallback(lambda _: self._finish())
        waiting: Deferred[None] = Deferred()

        def pass_on(result: object) -> object:
            waiting.callback(None)
            return result

        self._stopped.addBoth(pass_on)
        return waiting

    def abort(self) -> None:
        """End every session at once."""
        for service in self._proxies.services:
            service.abort()

    def dump_rings(self) -> None:
        """Write the rings of all sessions, unless the service was stopped in order."""
        if self._stopped is None:
            with suppress(Exception):  # it may be what is killing the program
                self._shared.inspections.run_all()
            self._recordings.dump_rings()

    def _finish(self) -> None:
        self._proxies.stop_plugins()
        self._key_log.close()
        complete = self._recordings.close()
        text = self.events.farewell()
        if self.lost:
            text += f"; {self.lost}"
        elif not complete:
            text += "; the disk does not accept data: the end of the recording is missing"
        text += self._recordings.summary()
        log = LOG.warn if self.lost or not complete else LOG.info
        log("{words}", words=text)
        self.failed = self.failed or (str(self.lost) if self.lost else "")
        self.failed = self.failed or ("" if complete else "the disk does not accept data")

    # Changes.

    def hang_up(self) -> Deferred[None]:
        """Reload the config, apply what changed, and reopen the files (SIGHUP)."""
        done = Deferred.fromCoroutine(self._hang_up())
        done.addErrback(lambda failure: LOG.failure("SIGHUP", failure))
        return done

    async def _hang_up(self) -> None:
        self._shared.inspections.run_all()  # earlier messages belong to the earlier files
        try:
            if self._reload is not None:
                await self.change(self._reload())
        except ConfigError as error:
            LOG.error("the config is unchanged: {error}", error=error)
        self._try(self._logs.reopen)
        self._try(self._key_log.reopen)
        self._recordings.reopen()

    async def change(self, config: Config, reason: str = "config reloaded") -> None:
        """Run another config; what is the same in both is left alone.

        While one change is in progress the next one waits. If several wait, the last one wins.
        """
        self._next = config, reason
        if self._changing:
            return
        self._changing = True
        try:
            while self._next is not None and self._stopped is None:
                (config, reason), self._next = self._next, None
                await self._change(config, reason)
        finally:
            self._changing = False

    async def _change(self, config: Config, reason: str) -> None:
        self._change_process(config)
        self.config = config
        self._refused = await self._proxies.change(config, lambda: self._stopped is not None)
        if self._stopped is None:
            self._recordings.keep(self._proxies.recorders)
            LOG.info("{why}: {count} proxies", why=reason, count=len(self._proxies))

    def _change_process(self, config: Config) -> None:
        self._shared.budget.most = config.memory
        self._recordings.disk.most = config.record_queue
        self._try(lambda: self.set_logs(config))
        self._try(lambda: self._set_key_log(config))
        address = control_address(config.control)
        if address != self._control.address:
            self._control.move(address)
        self._set_interception(config)

    def _set_interception(self, config: Config) -> None:
        """Let messages of new sessions be held by hand if there is a control API."""
        self._shared.interception = None if config.control is None else self._interception

    def _set_key_log(self, config: Config) -> None:
        """Log the keys of new sessions as the config says; raises LbcproxyError."""
        self._key_log.set(config.key_log)
        self._shared.log_key = None if config.key_log is None else self._key_log.write

    @staticmethod
    def _try(change: Callable[[], object]) -> None:
        """Change something while the service runs; an error is logged, and costs nothing else."""
        try:
            change()
        except LbcproxyError as error:
            LOG.error("{error}", error=error)

    def set_logs(self, config: Config) -> None:
        """Log as the config says; raises LbcproxyError."""
        self._logs.set(level=config.log_level, path=config.log_file, json=config.log_json)

    # What the control API needs (`Controlled`).

    def recordings(self) -> Recordings:
        """Return what records the sessions, after it has been notified of everything so far."""
        self._shared.inspections.run_all()
        return self._recordings

    def refresh_hooks(self) -> None:
        """Make open sessions ask again which messages their hooks want."""
        self._proxies.refresh_hooks()

    def listening(self, name: str) -> Endpoint | None:
        """Return the address a proxy listens at; None if it does not listen."""
        return self._proxies.listening(name)

    def keep_port(self, name: str) -> None:
        """Make the port that was picked for a proxy part of its config, until a reload."""
        before, listening = self._proxies.get(name), self.listening(name)
        if before is None or listening is None or listening == mode_of(before).listen:
            return
        after = self._proxies.set_listen(name, listening)
        proxies = tuple(after if each == before else each for each in self.config.proxies)
        self.config = msgspec.structs.replace(self.config, proxies=proxies)

    async def apply(self, config: Config) -> dict[str, str]:
        """Run another config; return the proxies that could not be started, and why."""
        await self.change(config, "changed by the control API")
        return dict(self._refused)

    # What happens to recordings.

    def _recording_event(self, text: str, bad: bool, stop: bool) -> None:
        """Handle an event of a recording, in whatever thread it happens."""
        self._reactor.callFromThread(self._log_recording_event, text, bad, stop)

    def _log_recording_event(self, text: str, bad: bool, stop: bool) -> None:
        if not bad:
            LOG.info("{text}", text=text)
            return
        first = stop and not self.failed
        end = "; all sessions are ended" if first else ""
        LOG.error("{text}{end}", text=text, end=end)
        if first:
            self.failed = text
            self.stopService().addCallback(lambda _: self.on_failure())

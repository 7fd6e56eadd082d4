"""`twistd lbcproxy -c config.yaml`: the same service as `lbcproxy run -c`, run by twistd."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn, cast

from twisted.python import usage

from lbcproxy.config import ConfigError, load, read
from lbcproxy.errors import LbcproxyError
from lbcproxy.reactor import Reactor
from lbcproxy.service import LbcproxyService, Logs, raise_open_files, return_freed_memory
from lbcproxy.service.process import Shutdown

__all__ = ["Options", "makeService"]


class Options(usage.Options):
    """The options after `lbcproxy` on the command line of twistd."""

    synopsis = "[-c config.yaml]"
    longdesc = "`lbcproxy options` prints every setting with its help. SIGHUP reloads the file."
    optParameters = [  # noqa: RUF012  # Twisted's own form
        ["config", "c", "config.yaml", "The file with the settings."]
    ]

    def postOptions(self) -> None:
        """Load the config; exits with code 2 and a message with file and line if it is wrong."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing can be reloaded yet
        try:
            self.settings = load(*read(self["config"]))
            for proxy in self.settings.proxies:
                if proxy.record == "-":
                    raise ConfigError("twistd has no standard output of its own", "record")
            if self.settings.log_json and self.settings.log_file is None:
                raise ConfigError("under twistd it needs a log_file", "log_json")
        except ConfigError as error:
            _refuse(error)


class _Refused(SystemExit, Exception):
    """Exits the program. It is an Exception too, so that twistd reports it to a waiting parent."""


class _TwistdService(LbcproxyService):
    """The service under twistd, without a traceback for a port in use."""

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except LbcproxyError as error:
            _refuse(error)

    def startService(self) -> None:
        try:
            # Not earlier: the log has to belong to this user and be relative to this folder.
            self.set_logs(self.config)
            super().startService()
        except LbcproxyError as error:
            _refuse(error)


def makeService(options: Options) -> LbcproxyService:
    """Return the service that a config describes; exits if its log cannot be opened."""
    from twisted.internet import reactor as twisted_reactor  # noqa: TID251  # the edge of the program

    reactor = cast("Reactor", twisted_reactor)
    raise_open_files()
    return_freed_memory()
    logs = Logs(None)
    logs.join()
    config = options.settings
    path = str(Path(options["config"]).absolute())  # a daemon changes its folder
    service = _TwistdService(reactor, config, logs, reload=lambda: load(*read(path)))
    shutdown = Shutdown(
        service.stopService, service.abort, reactor, service.hang_up, service.dump_rings
    )
    service.on_failure = lambda: shutdown.done(1)
    reactor.callWhenRunning(shutdown.install)
    reactor.callWhenRunning(lambda: atexit.register(_exit, service, shutdown))
    return service


def _exit(service: LbcproxyService, shutdown: Shutdown) -> None:
    """Exit with the code of `lbcproxy run`; twistd itself always exits with 0."""
    service.dump_rings()  # does nothing after an orderly stop
    code = 1 if service.failed or shutdown.failure is not None else shutdown.code
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _refuse(error: LbcproxyError) -> NoReturn:
    print(f"lbcproxy: {error}", file=sys.stderr)  # noqa: T201
    if error.hint:
        print(f"Hint: {error.hint}", file=sys.stderr)  # noqa: T201
    refused = _Refused(str(error))
    refused.code = error.exit_code
    raise refused from None

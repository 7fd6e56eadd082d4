"""`twistd lbcproxy -c config.yaml`: the same proxies as `lbcproxy run -c`, kept by twistd."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from twisted.python import usage

from lbcproxy.config import ConfigError, load, read
from lbcproxy.errors import LbcproxyError
from lbcproxy.service import LbcproxyService, Logs, raise_open_files, return_freed_memory
from lbcproxy.service.process import Shutdown

__all__ = ["Options", "makeService"]


class Options(usage.Options):
    """What stands behind `lbcproxy` on twistd's command line."""

    synopsis = "[-c config.yaml]"
    longdesc = "`lbcproxy options` prints every setting with its help. SIGHUP reads the file again."
    optParameters = [  # noqa: RUF012  # Twisted's own form
        ["config", "c", "config.yaml", "The settings."]
    ]

    def postOptions(self) -> None:
        """Read the config; ends the program with exit code 2 and a line that names the place."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the reactor runs, nothing is to reload
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
    """Ends the program, and tells a twistd that waits for its daemon: that hears of Exceptions."""


class _Kept(LbcproxyService):
    """The service under twistd, which would show a traceback for a port in use."""

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except LbcproxyError as error:
            _refuse(error)

    def startService(self) -> None:
        try:
            # Not before: they are opened anew as this user, and in this folder.
            self.set_logs(self.config)
            super().startService()
        except LbcproxyError as error:
            _refuse(error)


def makeService(options: Options) -> Any:
    """Give the service that a config describes; ends the program if it cannot log as told."""
    from twisted.internet import reactor  # noqa: TID251  # the one place: the program's edge

    raise_open_files()
    return_freed_memory()
    logs = Logs(None)
    logs.join()
    config = options.settings
    path = str(Path(options["config"]).absolute())  # a daemon has another folder
    service = _Kept(reactor, config, logs, reload=lambda: load(*read(path)))
    ended = Shutdown(
        service.stopService, service.abort, reactor, service.hang_up, service.dump_rings
    )
    service.on_failure = lambda: ended.done(1)
    reactor.callWhenRunning(ended.install)
    reactor.callWhenRunning(lambda: atexit.register(_leave, service, ended))
    return service


def _leave(service: LbcproxyService, ended: Shutdown) -> None:
    """End with the exit code of `lbcproxy run`: twistd itself would give 0 whatever happened."""
    service.dump_rings()  # nothing, if it was stopped in order
    code = 1 if service.failed or ended.failure is not None else ended.code
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

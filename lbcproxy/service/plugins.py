"""The plugin files of a service: loaded once for all proxies, and reloaded when they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from lbcproxy.clock import Clock
from lbcproxy.config import Proxy
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.plugins.loader import BadPlugin, PluginFile, PluginSpec, parse_spec
from lbcproxy.proxy import Plugins

__all__ = ["PluginFiles"]

LOG = Logger(namespace="lbcproxy.plugins", observer=LOG_FILTER)
CHECK_INTERVAL = 1.0
"""Seconds between checks whether a file has changed."""


class PluginFiles:
    """The loaded plugin files.

    Args:
        clock: For the checks whether a file has changed.
        on_reload: Called after files have been reloaded.
    """

    def __init__(self, clock: Clock, on_reload: Callable[[], object]) -> None:
        self._on_reload = on_reload
        self._loaded: list[PluginFile] = []
        self._checking = LoopingCall(self._check)
        self._checking.clock = cast("IReactorTime", clock)

    def of(self, proxy: Proxy) -> Plugins:
        """Return the plugins of a proxy; raises BadPlugin."""
        loaded = tuple(self._load(parse_spec(text)) for text in proxy.plugins)
        return Plugins(loaded, proxy.plugin_failure, proxy.plugin_timeout)

    def stop(self) -> None:
        """Stop checking."""
        if self._checking.running:
            self._checking.stop()

    def _load(self, spec: PluginSpec) -> PluginFile:
        found = next((each for each in self._loaded if each.spec == spec), None)
        if found is None:
            found = PluginFile(spec)
            self._loaded.append(found)
            LOG.info("plugin {path}", path=str(found.path))
        if not self._checking.running:
            self._checking.start(CHECK_INTERVAL, now=False)
        return found

    def _check(self) -> None:
        changed = [each for each in self._loaded if each.has_changed()]
        for each in changed:
            try:
                each.reload()
                LOG.info("plugin {path} reloaded", path=str(each.path))
            except BadPlugin as error:
                LOG.error("{error}; the version loaded before stays in use", error=str(error))
        if changed:
            self._on_reload()

"""The plugin files of a service: loaded once for all proxies, and again when they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from lbcproxy.config import Proxy
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.plugins.loader import BadPlugin, Loaded, PluginSpec, parse_spec
from lbcproxy.proxy import Plugins

__all__ = ["PluginFiles"]

LOG = Logger(namespace="lbcproxy.plugins", observer=LOG_FILTER)
EVERY = 1.0
"""Seconds between looks at whether a file has changed."""


class PluginFiles:
    """Keeps the files; `changed` is told when one was loaded again."""

    def __init__(self, clock: Any, changed: Callable[[], object]) -> None:
        self._changed = changed
        self._loaded: list[Loaded] = []
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def of(self, proxy: Proxy) -> Plugins:
        """Give a proxy's plugins; raises BadPlugin."""
        loaded = tuple(self._get(parse_spec(text)) for text in proxy.plugins)
        return Plugins(loaded, proxy.plugin_failure, proxy.plugin_timeout)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def _get(self, spec: PluginSpec) -> Loaded:
        found = next((each for each in self._loaded if each.spec == spec), None)
        if found is None:
            found = Loaded(spec)
            self._loaded.append(found)
            LOG.info("plugin {path}", path=str(found.path))
        if not self._looking.running:
            self._looking.start(EVERY, now=False)
        return found

    def _look(self) -> None:
        again = [each for each in self._loaded if each.has_changed()]
        for each in again:
            try:
                each.load_again()
                LOG.info("plugin {path} is loaded again", path=str(each.path))
            except BadPlugin as error:
                LOG.error("{error}; what was loaded stays", error=str(error))
        if again:
            self._changed()

"""A proxy that runs, and the settings it is started with."""

from __future__ import annotations

import msgspec
from twisted.logger import Logger

from lbcproxy import networks
from lbcproxy.config import Proxy, mode_of
from lbcproxy.endpoint import Endpoint
from lbcproxy.peer.log import LOG_FILTER
from lbcproxy.proxy import (
    Destinations,
    IdentityOverrides,
    Mode,
    Plugins,
    ProxyService,
    ProxySettings,
)
from lbcproxy.service.recordings import Recorders
from lbcproxy.session.session import STREAM_ABOVE
from lbcproxy.transport.kind import Transport

__all__ = ["RunningProxy", "has_moved", "keeps_address", "settings_of"]

# Not in the class: Twisted would name the logger's source after it.
LOG = Logger(namespace="lbcproxy.service", observer=LOG_FILTER)


class RunningProxy(msgspec.Struct):
    """A proxy that listens."""

    proxy: Proxy
    """Its settings."""
    service: ProxyService
    recorders: Recorders
    modes: list[Mode]
    """Where it listens and connects to, with the ports that were picked."""
    faults_logged: bool = False
    """Whether the log says that it has faults."""

    def log_addresses(self) -> None:
        """Log where it listens and where it forwards to."""
        for mode in self.modes:
            LOG.info(
                "{network}: listening at {listen}, forwarding to {upstream}",
                network=self.proxy.network,
                listen=mode.listen,
                upstream=mode.leads_to,
                proxy=self.proxy.name,
            )

    def log_faults(self, seed: int) -> None:
        """Log its faults, or that it has none any more."""
        faults, name = self.proxy.faults, self.proxy.name
        if faults:
            self.faults_logged = True
            LOG.info(
                "proxy {name}: faults, of seed {seed}: {words}",
                name=name,
                seed=seed,
                words=", ".join(map(str, faults)),
            )
        elif self.faults_logged:
            self.faults_logged = False
            LOG.info("proxy {name}: no faults", name=name)


def settings_of(proxy: Proxy, *, plugins: Plugins, reads_all: bool, seed: int) -> ProxySettings:
    """Return what a proxy is started with.

    Args:
        proxy: Its settings in the config.
        plugins: Its plugins, loaded.
        reads_all: Whether an observer reads every message.
        seed: The seed of the random numbers that faults use.
    """
    agent = proxy.user_agent
    return ProxySettings(
        network=networks.get(str(proxy.network)),
        modes=(mode_of(proxy),),
        dial_timeout=proxy.dial_timeout,
        dial_retry=proxy.dial_retry,
        handshake_timeout=proxy.handshake_timeout,
        idle_timeout=proxy.idle_timeout,
        max_sessions=proxy.max_sessions,
        max_sessions_per_address=proxy.max_sessions_per_address,
        plugins=plugins,
        faults=proxy.faults,
        seed=seed,
        socks_upstream=Endpoint.parse(proxy.socks_upstream) if proxy.socks_upstream else None,
        client_transport=Transport(proxy.client_transport),
        upstream_transport=Transport(proxy.upstream_transport),
        destinations=Destinations.parse(proxy.socks_allow, proxy.socks_deny),
        stream_above=None if reads_all or proxy.record_filter else STREAM_ABOVE,
        shown=IdentityOverrides(
            user_agent=None if agent is None else agent.encode(),
            services=proxy.services,
            protocol_version=proxy.protocol_version,
            relay=proxy.relay,
            height=proxy.height,
            pass_pings=proxy.pass_pings,
        ),
    )


def has_moved(before: Proxy, after: Proxy) -> bool:
    """Whether the network, mode or addresses differ, so that open sessions cannot be kept."""
    return (before.network, mode_of(before)) != (after.network, mode_of(after))


def keeps_address(before: Proxy, after: Proxy) -> bool:
    """Whether both listen at the same address."""
    return mode_of(before).listen == mode_of(after).listen

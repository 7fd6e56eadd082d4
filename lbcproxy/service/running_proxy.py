"""A proxy that runs, and what its configuration means for it."""

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

__all__ = ["RunningProxy", "moved", "settings_of", "stays"]

# Not in the class: Twisted would give it the name of the class.
LOG = Logger(namespace="lbcproxy.service", observer=LOG_FILTER)


class RunningProxy(msgspec.Struct):
    """A proxy that listens."""

    proxy: Proxy
    service: ProxyService
    kept: Recorders
    modes: list[Mode]
    faulty: bool = False
    """Whether it was said that it has faults."""

    def say_listening(self) -> None:
        """Say where it listens."""
        for mode in self.modes:
            LOG.info(
                "{network}: listening at {listen}, leading to {upstream}",
                network=self.proxy.network,
                listen=mode.listen,
                upstream=mode.leads_to,
                proxy=self.proxy.name,
            )

    def say_faults(self, seed: int) -> None:
        """Say what goes wrong on purpose, or that nothing does any more."""
        faults, name = self.proxy.faults, self.proxy.name
        if faults:
            self.faulty = True
            words = ", ".join(map(str, faults))
            LOG.info(
                "proxy {name}: faults, of seed {seed}: {words}",
                name=name,
                seed=seed,
                words=words,
            )
        elif self.faulty:
            self.faulty = False
            LOG.info("proxy {name}: no faults", name=name)


def settings_of(proxy: Proxy, *, plugins: Plugins, reads_all: bool, seed: int) -> ProxySettings:
    """Make of a proxy's configuration what it is started with."""
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


def moved(before: Proxy, after: Proxy) -> bool:
    """Whether sessions of the one could not be those of the other."""
    return (before.network, mode_of(before)) != (after.network, mode_of(after))


def stays(before: Proxy, after: Proxy) -> bool:
    """Whether both listen at the same place."""
    return mode_of(before).listen == mode_of(after).listen

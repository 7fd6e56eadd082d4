"""The network that settings choose: an id, and perhaps another magic or a signet challenge."""

from __future__ import annotations

from lbcproxy import networks
from lbcproxy.config.settings import Proxy

__all__ = ["BadNetwork", "network_of", "without_magic"]


class BadNetwork(ValueError):
    """The settings do not choose a network; `setting` is the one that is wrong."""

    def __init__(self, setting: str, what: str) -> None:
        super().__init__(what)
        self.setting = setting


def network_of(proxy: Proxy) -> str:
    """Return the id of a proxy's network, which includes its magic; raises BadNetwork."""
    name = proxy.network
    if name is None and proxy.signet_challenge is not None:
        name = networks.SIGNET
    if name is None:
        raise BadNetwork("network", "choose a network here or at the top; there is no default")
    try:
        return networks.custom(name, proxy.magic, proxy.signet_challenge).id
    except KeyError as error:
        raise BadNetwork("network", str(error.args[0])) from None
    except ValueError as error:
        setting = "magic" if proxy.signet_challenge is None else "signet_challenge"
        raise BadNetwork(setting, str(error)) from None


def without_magic(given: dict[str, object]) -> dict[str, object]:
    """Return settings without those that belong only to the network at the top."""
    return {key: value for key, value in given.items() if key not in ("magic", "signet_challenge")}

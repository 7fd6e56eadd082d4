"""The network that settings say: an id, and a magic of its own or the challenge of a signet."""

from __future__ import annotations

from typing import Any

from lbcproxy import networks
from lbcproxy.config.settings import Proxy

__all__ = ["BadNetwork", "network_of", "without_magic"]


class BadNetwork(ValueError):
    """Settings say no network that there is; `setting` is the wrong one."""

    def __init__(self, setting: str, what: str) -> None:
        super().__init__(what)
        self.setting = setting


def network_of(proxy: Proxy) -> str:
    """Return the id of a proxy's network, which names a magic of its own; raises BadNetwork."""
    name = proxy.network
    if name is None and proxy.signet_challenge is not None:
        name = networks.SIGNET
    if name is None:
        raise BadNetwork(
            "network", "a network must be chosen, here or at the top; there is no default"
        )
    try:
        return networks.custom(name, proxy.magic, proxy.signet_challenge).id
    except KeyError as error:
        raise BadNetwork("network", str(error.args[0])) from None
    except ValueError as error:
        setting = "magic" if proxy.signet_challenge is None else "signet_challenge"
        raise BadNetwork(setting, str(error)) from None


def without_magic(given: dict[str, Any]) -> dict[str, Any]:
    """Return settings without those that belong to the network at the top alone."""
    return {key: value for key, value in given.items() if key not in ("magic", "signet_challenge")}

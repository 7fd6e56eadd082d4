"""The faults of a proxy in the control API, where they are called toxics."""

from __future__ import annotations

from lbcproxy.config import Proxy
from lbcproxy.control.errors import NO_TOXIC, ApiError
from lbcproxy.control.proxies import Proxies
from lbcproxy.control.serialization import (
    ToxicJson,
    decode_object,
    make_fault,
    toxic_json,
    toxics_json,
    update_fault,
)
from lbcproxy.faults import Fault

__all__ = ["Toxics"]


class Toxics:
    """The requests about faults; they raise ApiError."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    def all_json(self, proxy: str) -> list[ToxicJson]:
        """Return the faults of a proxy."""
        return toxics_json(self._proxies.get(proxy))

    def json(self, proxy: str, name: str) -> ToxicJson:
        """Return one fault of a proxy."""
        return toxic_json(_find(self._proxies.get(proxy), name))

    async def create(self, name: str, body: bytes) -> ToxicJson:
        """Add a fault after the others, also in open sessions."""
        proxy = self._proxies.get(name)
        fault = make_fault(decode_object(body))
        if any(each.name == fault.name for each in proxy.faults):
            raise ApiError(409, "toxic already exists")
        await self._proxies.set_faults(proxy, [*proxy.faults, fault])
        return toxic_json(fault)

    async def update(self, name: str, toxic: str, body: bytes) -> ToxicJson:
        """Change the attributes, the toxicity or the schedule of a fault."""
        proxy = self._proxies.get(name)
        before = _find(proxy, toxic)
        fault = update_fault(before, decode_object(body))
        faults = [fault if each is before else each for each in proxy.faults]
        await self._proxies.set_faults(proxy, faults)
        return toxic_json(fault)

    async def delete(self, name: str, toxic: str) -> None:
        """Remove a fault."""
        proxy = self._proxies.get(name)
        removed = _find(proxy, toxic)
        await self._proxies.set_faults(
            proxy, [each for each in proxy.faults if each is not removed]
        )


def _find(proxy: Proxy, name: str) -> Fault:
    for fault in proxy.faults:
        if fault.name == name:
            return fault
    raise NO_TOXIC

"""What the control API does, without HTTP: each call makes another config, and has it applied.

A change that cannot be had, as a port in use, is taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from typing import Protocol as Interface

import msgspec

from lbcproxy.config import Config, ConfigError, Proxy, make_proxy, mode_of, together
from lbcproxy.control.errors import NO_PROXY, NO_TOXIC, ApiError, bad_body, failed, missing
from lbcproxy.control.interception import change_interception, decide, interception_json
from lbcproxy.control.recording import (
    RecorderIndex,
    change_recordings,
    recordings_json,
    write_rings,
)
from lbcproxy.control.serialization import (
    an_object,
    decoded,
    make_fault,
    proxy_json,
    toxic_json,
    toxics_json,
    update_fault,
)
from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import Fault
from lbcproxy.proxy.interception import Interception

__all__ = ["Api", "Controlled"]

replace = msgspec.structs.replace
OWN = ("network", "mode")
"""What a new proxy may say beyond what toxiproxy knows."""


class Controlled(Interface):
    """Whose proxies these are: the service."""

    config: Config

    def listening(self, name: str) -> Endpoint | None:
        """Where a proxy listens; None if it does not."""

    def ask_again(self) -> None:
        """Have open sessions know which messages are asked for now."""

    def recordings(self) -> RecorderIndex:
        """What keeps the sessions."""

    def settle(self, name: str) -> None:
        """Have a proxy keep the port that was picked for it."""

    async def apply(self, config: Config) -> Mapping[str, str]:
        """Make what runs like a config; give what could not be started, by name, and why."""


class Api:
    """The calls, each with the body of its request; they raise ApiError."""

    def __init__(self, controlled: Controlled, interception: Interception) -> None:
        self._controlled = controlled
        self._interception = interception

    # Messages held by hand.

    def interception(self) -> dict[str, Any]:
        """Give what is to be held, and what waits."""
        return interception_json(self._interception)

    async def intercept(self, body: bytes) -> dict[str, Any]:
        """Have other messages held, or none; what is not named stays as it is."""
        given = decoded(body)
        if not isinstance(given, dict):
            raise bad_body("an object is expected")
        change_interception(self._interception, given)
        self._controlled.ask_again()
        return self.interception()

    async def decide(self, number: str, body: bytes) -> None:
        """Release, drop or edit a message that waits."""
        decide(self._interception, number, an_object(decoded(body)))

    # What is recorded.

    def recordings(self) -> dict[str, Any]:
        """Give what is recorded of all proxies, by name."""
        return recordings_json(self._controlled.recordings(), self._names())

    def recording(self, name: str) -> dict[str, Any]:
        """Give what is recorded of one."""
        shown: dict[str, Any] = recordings_json(
            self._controlled.recordings(), [self._proxy(name).name]
        )[name]
        return shown

    async def record_all(self, body: bytes) -> dict[str, Any]:
        """Switch recording on or off for all proxies, or a session or peer of any."""
        change_recordings(self._controlled.recordings(), self._names(), decoded(body))
        return self.recordings()

    async def record(self, name: str, body: bytes) -> dict[str, Any]:
        """Do it for one."""
        names = [self._proxy(name).name]
        change_recordings(self._controlled.recordings(), names, decoded(body))
        return self.recording(name)

    async def write_rings(self, body: bytes) -> dict[str, Any]:
        """Write the rings of all sessions, or of one, or of a peer."""
        return write_rings(self._controlled.recordings(), self._names(), decoded(body or b"{}"))

    async def write_ring(self, name: str, body: bytes) -> dict[str, Any]:
        """Do it for one proxy."""
        names = [self._proxy(name).name]
        return write_rings(self._controlled.recordings(), names, decoded(body or b"{}"))

    # Proxies.

    def proxies(self) -> dict[str, Any]:
        """Give all, by name."""
        return {proxy.name: self._shown(proxy.name) for proxy in self._config.proxies}

    def proxy(self, name: str) -> dict[str, Any]:
        """Give one."""
        self._proxy(name)
        return self._shown(name)

    async def create_proxy(self, body: bytes) -> dict[str, Any]:
        """Make one, and open its listener."""
        given = an_object(decoded(body))
        for field in ("name", "upstream"):
            if not given.get(field):
                raise missing(field)
        if self._find(given["name"]) is not None:
            raise ApiError(409, "proxy already exists")
        made = self._made(given)
        await self._apply([*self._config.proxies, made], made.name)
        return self._shown(made.name)

    async def update_proxy(self, name: str, body: bytes) -> dict[str, Any]:
        """Let one listen or lead elsewhere, or stop and start it."""
        proxy = self._proxy(name)
        self._controlled.settle(name)
        proxy = self._proxy(name)
        given = an_object(decoded(body))
        changed = self._changed(proxy, given)
        if changed != proxy or (changed.enabled and self._controlled.listening(name) is None):
            await self._apply(self._with(changed), name)
        return self._shown(name)

    async def delete_proxy(self, name: str, _: bytes = b"") -> None:
        """Close one and its sessions."""
        self._proxy(name)
        await self._apply([each for each in self._config.proxies if each.name != name])

    async def populate(self, body: bytes) -> dict[str, Any]:
        """Make several in one change, all or none; one that is there and the same is left alone."""
        wanted = _wanted(body)
        for each in wanted:
            self._controlled.settle(each["name"])
        proxies: dict[object, Proxy] = {each.name: each for each in self._config.proxies}
        for number, each in enumerate(wanted, 1):
            try:
                proxy = self._put(proxies.get(each["name"]), each)
            except ApiError as error:
                raise _NoneMade(
                    ApiError(error.status, f"{error.words} at proxy {number}")
                ) from None
            proxies[proxy.name] = proxy
        names = list(dict.fromkeys(str(each["name"]) for each in wanted))
        if list(proxies.values()) != list(self._config.proxies):
            try:
                await self._apply(proxies.values(), *names)
            except ApiError as error:
                raise _NoneMade(error) from None
        return {"proxies": [self._shown(name) for name in names]}

    async def reset(self, _: bytes = b"") -> None:
        """Enable every proxy, and take all faults away."""
        await self._apply([replace(each, enabled=True, faults=()) for each in self._config.proxies])

    # Faults.

    def toxics(self, name: str) -> list[dict[str, Any]]:
        """Give the faults of a proxy."""
        return toxics_json(self._proxy(name))

    def toxic(self, name: str, toxic: str) -> dict[str, Any]:
        """Give one."""
        return toxic_json(self._fault(self._proxy(name), toxic))

    async def create_toxic(self, name: str, body: bytes) -> dict[str, Any]:
        """Add one behind the others, also to sessions that are open."""
        proxy = self._proxy(name)
        fault = make_fault(an_object(decoded(body)))
        if any(each.name == fault.name for each in proxy.faults):
            raise ApiError(409, "toxic already exists")
        await self._have(proxy, [*proxy.faults, fault])
        return toxic_json(fault)

    async def update_toxic(self, name: str, toxic: str, body: bytes) -> dict[str, Any]:
        """Change its attributes or toxicity."""
        proxy = self._proxy(name)
        before = self._fault(proxy, toxic)
        fault = update_fault(before, an_object(decoded(body)))
        await self._have(proxy, [fault if each is before else each for each in proxy.faults])
        return toxic_json(fault)

    async def delete_toxic(self, name: str, toxic: str, _: bytes = b"") -> None:
        """Take one away."""
        proxy = self._proxy(name)
        gone = self._fault(proxy, toxic)
        await self._have(proxy, [each for each in proxy.faults if each is not gone])

    # How.

    @property
    def _config(self) -> Config:
        return self._controlled.config

    def _names(self) -> list[str]:
        return [proxy.name for proxy in self._config.proxies]

    def _find(self, name: object) -> Proxy | None:
        return next((each for each in self._config.proxies if each.name == name), None)

    def _proxy(self, name: str) -> Proxy:
        found = self._find(name)
        if found is None:
            raise NO_PROXY
        return found

    def _fault(self, proxy: Proxy, name: str) -> Fault:
        for fault in proxy.faults:
            if fault.name == name:
                return fault
        raise NO_TOXIC

    def _shown(self, name: str) -> dict[str, Any]:
        return proxy_json(self._proxy(name), self._controlled.listening(name))

    def _with(self, proxy: Proxy) -> list[Proxy]:
        return [proxy if each.name == proxy.name else each for each in self._config.proxies]

    async def _have(self, proxy: Proxy, faults: Iterable[Fault]) -> None:
        await self._apply(self._with(_checked(self._config, proxy, faults=tuple(faults))))

    def _made(self, given: Mapping[str, Any]) -> Proxy:
        values = {name: given[name] for name in OWN if name in given}
        networks = [self._config.network, *(each.network for each in self._config.proxies)]
        network = next((each for each in networks if each is not None), None)
        return _proxy_of(
            self._config,
            {
                "network": network,
                "name": given["name"],
                "listen": _listen(given.get("listen", "")),
                "upstream": given["upstream"],
                "enabled": given.get("enabled", True),
                **values,
            },
        )

    def _changed(self, proxy: Proxy, given: Mapping[str, Any]) -> Proxy:
        values = {name: given[name] for name in ("upstream", "enabled") if name in given}
        if "listen" in given:
            values["listen"] = _listen(given["listen"])
        changed = _checked(self._config, proxy, **values)
        same = mode_of(changed) == mode_of(proxy)
        return replace(proxy, enabled=changed.enabled) if same else changed

    def _put(self, found: Proxy | None, given: Mapping[str, Any]) -> Proxy:
        """Return a proxy as it is given; where it listens or leads elsewhere, without faults."""
        if found is None:
            return self._made(given)
        changed = self._changed(found, {"listen": "", "enabled": True, **given})
        return found if mode_of(changed) == mode_of(found) else replace(changed, faults=())

    async def _apply(self, proxies: Iterable[Proxy], *names: str) -> None:
        """Have other proxies; if one of them cannot be started, those of before."""
        before = self._config
        try:
            config = together(before, proxies)
        except ConfigError as error:
            raise bad_body(error.what) from None
        refused = await self._controlled.apply(config)
        if refused:
            await self._controlled.apply(before)
            raise failed("; ".join(_refusals(refused, several=len(names) > 1)))
        for name in names:
            self._controlled.settle(name)


class _NoneMade(ApiError):
    """None of several proxies was made; toxiproxy's clients look for those that were."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.status, error.words)

    @property
    def answer(self) -> dict[str, object]:
        """Say so."""
        return {**super().answer, "proxies": []}


def _wanted(body: bytes) -> list[dict[str, Any]]:
    """Return the proxies that a body asks for; raises ApiError."""
    given = decoded(body)
    if not isinstance(given, list):
        raise bad_body("a list of proxies is expected")
    wanted = [an_object(each) for each in given]
    for number, each in enumerate(wanted, 1):
        for field in ("name", "upstream"):
            if not each.get(field):
                raise missing(f"{field} at proxy {number}")
        if not isinstance(each["name"], str):
            raise bad_body(f"name: text is expected at proxy {number}")
    return wanted


def _refusals(refused: Mapping[str, str], *, several: bool) -> list[str]:
    """Say why proxies could not be started, each with its name if several were to be."""
    return [f"proxy {name}: {why}" if several else why for name, why in refused.items()]


def _listen(given: object) -> str:
    """Give an address that tells where: without a host it is this machine alone."""
    host, _, port = str(given).rpartition(":")
    return f"{'127.0.0.1' if host in ('', 'localhost') else host}:{port or 0}"


def _proxy_of(config: Config, values: Mapping[str, Any]) -> Proxy:
    try:
        return make_proxy(config, values)
    except ConfigError as error:
        raise bad_body(": ".join(each for each in (error.path, error.what) if each)) from None


def _checked(config: Config, proxy: Proxy, **changes: Any) -> Proxy:
    """Give a proxy with changes, held against what any proxy must be."""
    return _proxy_of(config, {**msgspec.structs.asdict(proxy), **changes})

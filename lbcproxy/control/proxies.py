"""Proxies in the control API: each change makes a new config and applies it.

If a change cannot be applied, because a port is in use for example, it is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypedDict

import msgspec

from lbcproxy.config import Config, ConfigError, Proxy, make_proxy, mode_of, together
from lbcproxy.control.errors import NO_PROXY, ApiError, ErrorJson, bad_body, failed, missing
from lbcproxy.control.serialization import (
    ProxyJson,
    decode_json,
    decode_object,
    non_null_object,
    proxy_json,
)
from lbcproxy.endpoint import Endpoint
from lbcproxy.faults import Fault

__all__ = ["PopulatedJson", "Proxies", "RunningProxies"]

replace = msgspec.structs.replace
OWN_FIELDS = ("network", "mode")
"""Fields of a new proxy that toxiproxy does not have."""


class PopulatedJson(TypedDict):
    """The proxies that one request asked for."""

    proxies: list[ProxyJson]


class RunningProxies(Protocol):
    """The proxies that run, and the config they run with."""

    config: Config

    def listening(self, name: str) -> Endpoint | None:
        """Return the address a proxy listens at; None if it does not listen."""

    def keep_port(self, name: str) -> None:
        """Make the port that was picked for a proxy part of its config."""

    async def apply(self, config: Config) -> Mapping[str, str]:
        """Run another config; return the proxies that could not be started, and why."""


class Proxies:
    """The requests about proxies; they raise ApiError."""

    def __init__(self, running: RunningProxies) -> None:
        self._running = running

    @property
    def config(self) -> Config:
        """The config that runs."""
        return self._running.config

    @property
    def names(self) -> list[str]:
        """The names of all proxies."""
        return [proxy.name for proxy in self.config.proxies]

    def get(self, name: str) -> Proxy:
        """Return the settings of a proxy; raises ApiError if there is none."""
        found = self._find(name)
        if found is None:
            raise NO_PROXY
        return found

    def all_json(self) -> dict[str, ProxyJson]:
        """Return all proxies, by name."""
        return {proxy.name: self.json(proxy.name) for proxy in self.config.proxies}

    def json(self, name: str) -> ProxyJson:
        """Return one proxy."""
        return proxy_json(self.get(name), self._running.listening(name))

    async def create(self, body: bytes) -> ProxyJson:
        """Create a proxy and start to listen."""
        given = decode_object(body)
        for field in ("name", "upstream"):
            if not given.get(field):
                raise missing(field)
        if self._find(given["name"]) is not None:
            raise ApiError(409, "proxy already exists")
        created = self._created(given)
        await self._apply([*self.config.proxies, created], created.name)
        return self.json(created.name)

    async def update(self, name: str, body: bytes) -> ProxyJson:
        """Change where a proxy listens or connects to, or stop or start it."""
        self.get(name)
        self._running.keep_port(name)
        proxy = self.get(name)
        changed = self._changed(proxy, decode_object(body))
        if changed != proxy or (changed.enabled and self._running.listening(name) is None):
            await self._apply(self._with(changed), name)
        return self.json(name)

    async def delete(self, name: str) -> None:
        """Remove a proxy, and close its sessions."""
        self.get(name)
        await self._apply([each for each in self.config.proxies if each.name != name])

    async def populate(self, body: bytes) -> PopulatedJson:
        """Create several proxies, all or none; one that exists and is the same is left alone."""
        wanted = _wanted(body)
        for name, _ in wanted:
            self._running.keep_port(name)
        proxies = {each.name: each for each in self.config.proxies}
        for number, (name, given) in enumerate(wanted, 1):
            try:
                proxy = self._put(proxies.get(name), given)
            except ApiError as error:
                text = f"{error.text} at proxy {number}"
                raise _NoneCreated(ApiError(error.status, text)) from None
            proxies[proxy.name] = proxy
        names = list(dict.fromkeys(name for name, _ in wanted))
        if list(proxies.values()) != list(self.config.proxies):
            try:
                await self._apply(proxies.values(), *names)
            except ApiError as error:
                raise _NoneCreated(error) from None
        return {"proxies": [self.json(name) for name in names]}

    async def reset(self) -> None:
        """Enable all proxies, and remove all faults."""
        await self._apply([replace(each, enabled=True, faults=()) for each in self.config.proxies])

    async def set_faults(self, proxy: Proxy, faults: Iterable[Fault]) -> None:
        """Give a proxy other faults, which also act on open sessions."""
        changed = _checked(self.config, proxy, faults=tuple(faults))
        await self._apply(self._with(changed))

    def _find(self, name: object) -> Proxy | None:
        return next((each for each in self.config.proxies if each.name == name), None)

    def _with(self, proxy: Proxy) -> list[Proxy]:
        return [proxy if each.name == proxy.name else each for each in self.config.proxies]

    def _created(self, given: Mapping[str, object]) -> Proxy:
        values = {name: given[name] for name in OWN_FIELDS if name in given}
        networks = [self.config.network, *(each.network for each in self.config.proxies)]
        network = next((each for each in networks if each is not None), None)
        return _proxy_of(
            self.config,
            {
                "network": network,
                "name": given["name"],
                "listen": _listen_address(given.get("listen", "")),
                "upstream": given["upstream"],
                "enabled": given.get("enabled", True),
                **values,
            },
        )

    def _changed(self, proxy: Proxy, given: Mapping[str, object]) -> Proxy:
        values = {name: given[name] for name in ("upstream", "enabled") if name in given}
        if "listen" in given:
            values["listen"] = _listen_address(given["listen"])
        changed = _checked(self.config, proxy, **values)
        same = mode_of(changed) == mode_of(proxy)
        return replace(proxy, enabled=changed.enabled) if same else changed

    def _put(self, existing: Proxy | None, given: Mapping[str, object]) -> Proxy:
        """Return a proxy as a request describes it; without faults if its addresses change."""
        if existing is None:
            return self._created(given)
        changed = self._changed(existing, {"listen": "", "enabled": True, **given})
        if mode_of(changed) == mode_of(existing):
            return existing
        return replace(changed, faults=())

    async def _apply(self, proxies: Iterable[Proxy], *names: str) -> None:
        """Run other proxies; roll back if one of them cannot be started.

        Args:
            proxies: All proxies that are to run.
            names: Those that the request is about, which keep the ports that are picked for them.
        """
        before = self.config
        try:
            config = together(before, proxies)
        except ConfigError as error:
            raise bad_body(error.what) from None
        refused = await self._running.apply(config)
        if refused:
            await self._running.apply(before)
            raise failed("; ".join(_refusals(refused, several=len(names) > 1)))
        for name in names:
            self._running.keep_port(name)


class _NoneCreated(ApiError):
    """None of several proxies was created; toxiproxy's clients expect a list of those that were."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.status, error.text)

    @property
    def answer(self) -> ErrorJson:
        return {**super().answer, "proxies": []}


def _wanted(body: bytes) -> list[tuple[str, dict[str, object]]]:
    """Return the proxies that a request describes, each with its name; raises ApiError."""
    given = decode_json(body)
    if not isinstance(given, list):
        raise bad_body("a list of proxies is expected")
    wanted = []
    for number, each in enumerate(map(non_null_object, given), 1):
        for field in ("name", "upstream"):
            if not each.get(field):
                raise missing(f"{field} at proxy {number}")
        name = each["name"]
        if not isinstance(name, str):
            raise bad_body(f"name: text is expected at proxy {number}")
        wanted.append((name, each))
    return wanted


def _refusals(refused: Mapping[str, str], *, several: bool) -> list[str]:
    """Return why proxies could not be started, with their names if there were several."""
    return [f"proxy {name}: {reason}" if several else reason for name, reason in refused.items()]


def _listen_address(given: object) -> str:
    """Return an address with a host, which is 127.0.0.1 by default."""
    host, _, port = str(given).rpartition(":")
    return f"{'127.0.0.1' if host in ('', 'localhost') else host}:{port or 0}"


def _proxy_of(config: Config, values: Mapping[str, object]) -> Proxy:
    try:
        return make_proxy(config, values)
    except ConfigError as error:
        raise bad_body(": ".join(each for each in (error.path, error.what) if each)) from None


def _checked(config: Config, proxy: Proxy, **changes: object) -> Proxy:
    """Return a proxy with changes, after the checks that every proxy must pass."""
    return _proxy_of(config, {**msgspec.structs.asdict(proxy), **changes})

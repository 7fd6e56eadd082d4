"""The control API without HTTP: what it can be asked about, one object for each subject."""

from __future__ import annotations

from typing import Protocol

from lbcproxy.control.errors import bad_body
from lbcproxy.control.interception import (
    InterceptionJson,
    change_interception,
    decide,
    interception_json,
)
from lbcproxy.control.proxies import Proxies, RunningProxies
from lbcproxy.control.recording import (
    ProxyRecordingJson,
    RecorderIndex,
    RingsWrittenJson,
    change_recordings,
    recordings_json,
    write_rings,
)
from lbcproxy.control.serialization import decode_json, decode_object
from lbcproxy.control.toxics import Toxics
from lbcproxy.proxy.interception import Interception

__all__ = ["Api", "Controlled", "HeldMessages", "RecordingRequests"]


class Controlled(RunningProxies, Protocol):
    """What the API controls: the service."""

    def refresh_hooks(self) -> None:
        """Make open sessions ask again which messages their hooks want."""

    def recordings(self) -> RecorderIndex:
        """Return what records the sessions, brought up to date."""


class Api:
    """What the control API can be asked about.

    Args:
        controlled: The service.
        interception: What holds messages by hand.
    """

    def __init__(self, controlled: Controlled, interception: Interception) -> None:
        self.proxies = Proxies(controlled)
        self.toxics = Toxics(self.proxies)
        self.recordings = RecordingRequests(controlled, self.proxies)
        self.held = HeldMessages(controlled, interception)


class HeldMessages:
    """The requests about messages that are held by hand; they raise ApiError."""

    def __init__(self, controlled: Controlled, interception: Interception) -> None:
        self._controlled = controlled
        self._interception = interception

    def json(self) -> InterceptionJson:
        """Return which messages are held, and those that are."""
        return interception_json(self._interception)

    async def configure(self, body: bytes) -> InterceptionJson:
        """Hold other messages, or none; settings that are not given stay as they are."""
        given = decode_json(body)
        if not isinstance(given, dict):
            raise bad_body("an object is expected")
        change_interception(self._interception, given)
        self._controlled.refresh_hooks()
        return self.json()

    async def decide(self, number: str, body: bytes) -> None:
        """Release, drop or edit a held message."""
        decide(self._interception, number, decode_object(body))


class RecordingRequests:
    """The requests about recordings and rings; they raise ApiError."""

    def __init__(self, controlled: Controlled, proxies: Proxies) -> None:
        self._controlled = controlled
        self._proxies = proxies

    def all_json(self) -> dict[str, ProxyRecordingJson]:
        """Return what is recorded of all proxies, by name."""
        return recordings_json(self._controlled.recordings(), self._proxies.names)

    def json(self, name: str) -> ProxyRecordingJson:
        """Return what is recorded of one proxy."""
        proxy = self._proxies.get(name)
        return recordings_json(self._controlled.recordings(), [proxy.name])[name]

    async def switch_all(self, body: bytes) -> dict[str, ProxyRecordingJson]:
        """Turn recording on or off for all proxies, or for a session or a peer of any."""
        names = self._proxies.names
        change_recordings(self._controlled.recordings(), names, decode_json(body))
        return self.all_json()

    async def switch(self, name: str, body: bytes) -> ProxyRecordingJson:
        """Turn recording on or off for one proxy, or for a session or a peer of it."""
        names = [self._proxies.get(name).name]
        change_recordings(self._controlled.recordings(), names, decode_json(body))
        return self.json(name)

    async def write_all_rings(self, body: bytes) -> RingsWrittenJson:
        """Write the rings of all proxies, or those of a session or a peer."""
        given = decode_json(body or b"{}")
        return write_rings(self._controlled.recordings(), self._proxies.names, given)

    async def write_rings(self, name: str, body: bytes) -> RingsWrittenJson:
        """Write the rings of one proxy, or those of a session or a peer of it."""
        names = [self._proxies.get(name).name]
        return write_rings(self._controlled.recordings(), names, decode_json(body or b"{}"))

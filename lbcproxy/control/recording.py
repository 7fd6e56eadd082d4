"""Recording, in the control API: on and off for proxies, peers and sessions; rings on request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypedDict

from lbcproxy.capture import BY_HAND, MAX_PEERS, Choice, Rings, Switch, involves_host
from lbcproxy.control.errors import ApiError, bad_body, failed
from lbcproxy.errors import CaptureError
from lbcproxy.session import SessionInfo

__all__ = [
    "ProxyRecordingJson",
    "RecorderIndex",
    "RingsWrittenJson",
    "change_recordings",
    "recordings_json",
    "write_rings",
]


class SessionRecordingJson(TypedDict):
    """A session, and what is recorded of it."""

    session: int
    client: str
    upstream: str
    file: str | None
    ring: int


class ProxyRecordingJson(TypedDict):
    """What is recorded of a proxy's sessions."""

    enabled: bool
    peers: dict[str, bool]
    file: str | None
    ring: int
    sessions: list[SessionRecordingJson]


class RingsWrittenJson(TypedDict):
    """How many rings are being written."""

    written: int


class RecorderSet(Protocol):
    """What records the sessions of a proxy."""

    @property
    def switch(self) -> Switch | None:
        """Turns its recording on and off; None if there is none."""

    @property
    def rings(self) -> Rings | None:
        """Its rings; None if there are none."""


class RecorderIndex(Protocol):
    """What records the sessions of all proxies."""

    def recorders_of(self, name: str) -> Sequence[RecorderSet]:
        """Return what records a proxy; more than one if sessions with older settings are open."""

    def choice(self, name: str) -> Choice | None:
        """Return what is to be recorded of a proxy; None for one that was never started."""


def recordings_json(index: RecorderIndex, names: Iterable[str]) -> dict[str, ProxyRecordingJson]:
    """Return what is recorded of each proxy, and of each of its sessions."""
    return {name: _proxy_json(index, name) for name in names}


def change_recordings(index: RecorderIndex, names: Sequence[str], given: object) -> None:
    """Turn recording on or off, as a request says.

    Args:
        index: What records the proxies.
        names: The proxies that the request is about.
        given: The body of the request: everything, one session, or one peer.

    Raises:
        ApiError: The request is invalid, or nothing can be recorded.
    """
    given = _checked_object(given, ("enabled", "session", "peer"))
    on = given.get("enabled")
    if not isinstance(on, bool):
        raise bad_body("enabled: true or false is expected")
    is_selected = _selector(given)
    switches = {name: _switches(index, name) for name in names}
    recorded = [name for name in names if switches[name]]
    if not recorded:
        raise ApiError(409, "there is no file to record to: `record` is null")
    choices = [each for name in recorded if (each := index.choice(name)) is not None]
    peer = given.get("peer")
    if peer is not None and any(len(each.peers) >= MAX_PEERS for each in choices):
        raise ApiError(409, f"there are settings for {MAX_PEERS} peers already")
    chosen = [each for name in recorded for each in switches[name]]
    everything = "session" not in given and peer is None
    try:
        if everything:
            for switch in chosen:
                switch.turn_all(on)
        found = 0 if everything else sum(each.turn(on, is_selected) for each in chosen)
    except CaptureError as error:
        raise failed(str(error)) from None
    if everything:
        for choice in choices:
            choice.on = on
            choice.peers.clear()
        return
    if "session" in given:
        if not found:
            raise ApiError(404, f"no session {given['session']}")
        return
    for choice in choices:
        choice.peers.pop(str(peer), None)
        if choice.on is not on:
            choice.peers[str(peer)] = on


def write_rings(index: RecorderIndex, names: Iterable[str], given: object) -> RingsWrittenJson:
    """Write the rings that a request selects; return how many they are; raises ApiError."""
    given = _checked_object(given, ("session", "peer"))
    is_selected = _selector(given)
    rings = [each for name in names for each in _rings(index, name)]
    if not rings:
        raise ApiError(409, "there are no rings: `ring` is 0")
    return {"written": sum(each.write_all(BY_HAND, is_selected) for each in rings)}


def _proxy_json(index: RecorderIndex, name: str) -> ProxyRecordingJson:
    switches, rings, choice = _switches(index, name), _rings(index, name), index.choice(name)
    sessions: dict[int, SessionRecordingJson] = {}
    for switch in switches:
        for each in switch.sessions:
            shown = sessions[each.info.number] = _session_json(each.info)
            shown["file"] = each.file_name
    for ring in (ring for each in rings for ring in each.rings):
        sessions.setdefault(ring.number, _session_json(ring.info))["ring"] = ring.messages
    return {
        "enabled": bool(switches) and choice is not None and choice.on,
        "peers": {} if choice is None else dict(choice.peers),
        "file": switches[-1].recording.file_name if switches else None,
        "ring": rings[-1].settings.messages if rings else 0,
        "sessions": [sessions[number] for number in sorted(sessions)],
    }


def _session_json(info: SessionInfo) -> SessionRecordingJson:
    return {
        "session": info.number,
        "client": str(info.client),
        "upstream": str(info.upstream),
        "file": None,
        "ring": 0,
    }


def _switches(index: RecorderIndex, name: str) -> list[Switch]:
    found = [each.switch for each in index.recorders_of(name) if each.switch is not None]
    return list(dict.fromkeys(found))


def _rings(index: RecorderIndex, name: str) -> list[Rings]:
    found = [each.rings for each in index.recorders_of(name) if each.rings is not None]
    return list(dict.fromkeys(found))


def _checked_object(given: object, names: Sequence[str]) -> Mapping[str, object]:
    if not isinstance(given, dict):
        raise bad_body("an object is expected")
    for name in given:
        if name not in names:
            raise bad_body(f"no setting {name!r}, there are {', '.join(names)}")
    return given


def _selector(given: Mapping[str, object]) -> Callable[[SessionInfo], bool]:
    session, peer = given.get("session"), given.get("peer")
    if "session" in given and "peer" in given:
        raise bad_body("session and peer exclude each other")
    if "session" in given:
        if isinstance(session, bool) or not isinstance(session, int):
            raise bad_body("session: a number is expected")
        return lambda info: info.number == session
    if "peer" in given:
        if not isinstance(peer, str) or not 0 < len(peer) <= 255:
            raise bad_body("peer: a host is expected")
        return involves_host(peer)
    return lambda _: True

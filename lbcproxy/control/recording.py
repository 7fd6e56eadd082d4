"""What is recorded, as the control API has it: on and off, and rings by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from typing import Protocol as Interface

from lbcproxy.capture import BY_HAND, MAX_PEERS, Choice, Rings, Switch, is_of
from lbcproxy.control.errors import ApiError, bad_body, failed
from lbcproxy.errors import CaptureError
from lbcproxy.session import SessionInfo

__all__ = ["RecorderIndex", "change_recordings", "recordings_json", "write_rings"]


class Recorders(Interface):
    """What keeps a proxy's sessions."""

    @property
    def switch(self) -> Switch | None:
        """Its recording, with the switch before it."""

    @property
    def rings(self) -> Rings | None:
        """Its rings."""


class RecorderIndex(Interface):
    """What keeps the sessions of all proxies."""

    def kept(self, name: str) -> Sequence[Recorders]:
        """Give what keeps those of a proxy; several, if its settings have changed."""

    def choice(self, name: str) -> Choice | None:
        """Give what was chosen for a proxy; None for one that was never started."""


def recordings_json(keeps: RecorderIndex, names: Iterable[str]) -> dict[str, Any]:
    """Give for each proxy what is recorded, and of each of its sessions."""
    return {name: _shown(keeps, name) for name in names}


def change_recordings(keeps: RecorderIndex, names: Sequence[str], given: object) -> None:
    """Switch as it is given; raises ApiError for what cannot be."""
    given = _object(given, ("enabled", "session", "peer"))
    on = given.get("enabled")
    if not isinstance(on, bool):
        raise bad_body("enabled: true or false is expected")
    which = _which(given)
    switches = {name: _switches(keeps, name) for name in names}
    recorded = [name for name in names if switches[name]]
    if not recorded:
        raise ApiError(409, "nothing is to be recorded into: `record` is null")
    choices = [each for name in recorded if (each := keeps.choice(name)) is not None]
    peer = given.get("peer")
    if peer is not None and any(len(each.peers) >= MAX_PEERS for each in choices):
        raise ApiError(409, f"{MAX_PEERS} peers have a choice of their own already")
    turned = [each for name in recorded for each in switches[name]]
    everything = "session" not in given and peer is None
    try:
        if everything:
            for switch in turned:
                switch.turn_all(on)
        meant = 0 if everything else sum(each.turn(on, which) for each in turned)
    except CaptureError as error:
        raise failed(str(error)) from None
    if everything:
        for choice in choices:
            choice.on = on
            choice.peers.clear()
        return
    if "session" in given:
        if not meant:
            raise ApiError(404, f"no session {given['session']}")
        return
    for choice in choices:
        choice.peers.pop(str(peer), None)
        if choice.on is not on:
            choice.peers[str(peer)] = on


def write_rings(keeps: RecorderIndex, names: Iterable[str], given: object) -> dict[str, Any]:
    """Write the rings that are meant; give how many they are."""
    given = _object(given, ("session", "peer"))
    which = _which(given)
    rings = [each for name in names for each in _rings(keeps, name)]
    if not rings:
        raise ApiError(409, "there are no rings: `ring` is 0")
    return {"written": sum(each.write_all(BY_HAND, which) for each in rings)}


def _shown(keeps: RecorderIndex, name: str) -> dict[str, Any]:
    switches, rings, choice = _switches(keeps, name), _rings(keeps, name), keeps.choice(name)
    sessions: dict[int, dict[str, Any]] = {}
    for switch in switches:
        for each in switch.sessions:
            shown = sessions[each.info.number] = _session(each.info)
            shown["file"] = each.file_name
    for ring in (ring for each in rings for ring in each.rings):
        sessions.setdefault(ring.number, _session(ring.info))["ring"] = ring.messages
    return {
        "enabled": bool(switches) and choice is not None and choice.on,
        "peers": {} if choice is None else dict(choice.peers),
        "file": switches[-1].recording.file_name if switches else None,
        "ring": rings[-1].settings.messages if rings else 0,
        "sessions": [sessions[number] for number in sorted(sessions)],
    }


def _session(facts: SessionInfo) -> dict[str, Any]:
    return {
        "session": facts.number,
        "client": str(facts.client),
        "upstream": str(facts.upstream),
        "file": None,
        "ring": 0,
    }


def _switches(keeps: RecorderIndex, name: str) -> list[Switch]:
    found = [each.switch for each in keeps.kept(name) if each.switch is not None]
    return list(dict.fromkeys(found))


def _rings(keeps: RecorderIndex, name: str) -> list[Rings]:
    found = [each.rings for each in keeps.kept(name) if each.rings is not None]
    return list(dict.fromkeys(found))


def _object(given: object, names: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise bad_body("an object is expected")
    for name in given:
        if name not in names:
            raise bad_body(f"no setting {name!r}, there are {', '.join(names)}")
    return given


def _which(given: Mapping[str, Any]) -> Callable[[SessionInfo], bool]:
    session, peer = given.get("session"), given.get("peer")
    if "session" in given and "peer" in given:
        raise bad_body("session and peer exclude each other")
    if "session" in given:
        if isinstance(session, bool) or not isinstance(session, int):
            raise bad_body("session: a number is expected")
        return lambda facts: facts.number == session
    if "peer" in given:
        if not isinstance(peer, str) or not 0 < len(peer) <= 255:
            raise bad_body("peer: a host is expected")
        return is_of(peer)
    return lambda _: True

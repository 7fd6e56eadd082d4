"""Detect proxies that lead back to themselves, through listeners of the same process."""

from __future__ import annotations

from typing import Protocol

from lbcproxy.endpoint import Endpoint

__all__ = ["GuardedConnections", "LoopGuard"]

LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""What a connection to an unspecified address reaches."""


class GuardedSession(Protocol):
    """A session that owns one end of a connection."""

    @property
    def listen(self) -> Endpoint:
        """The address that its client connected to."""

    def leads_back(self) -> None:
        """End: the path from its client comes back to its own listener."""


class LoopGuard:
    """The connections of all sessions, by the addresses of the dialling and the listening end.

    If both ends of a connection belong to this process, one session leads to another. The
    configuration does not show that: a name or a second address may belong to a listener of ours.
    One proxy may lead to another. But a path that passes the same listener twice would never end.
    """

    def __init__(self) -> None:
        self._holders: dict[tuple[Endpoint, Endpoint, bool], GuardedSession] = {}
        self._before: dict[GuardedSession, GuardedSession] = {}
        """The session from which another was reached."""

    def add(
        self, dialler: Endpoint, listener: Endpoint, holder: GuardedSession, *, dialled: bool
    ) -> bool:
        """Record a connection.

        Args:
            dialler: The address of the end that dialled.
            listener: The address of the end that listened.
            holder: The session that owns our end.
            dialled: Whether our end is the one that dialled.

        Returns:
            False if the connection closes a loop. The sessions at both ends have then been ended.
        """
        ends = _plain(dialler), _plain(listener)
        self._holders[*ends, dialled] = holder
        other = self._holders.get((*ends, not dialled))
        if other is None or not dialler.port:  # only TCP has addresses
            return True
        earlier, later = (holder, other) if dialled else (other, holder)
        self._before[later] = earlier
        if not self._is_loop(later):
            return True
        other.leads_back()
        holder.leads_back()
        return False

    def remove(self, dialler: Endpoint, listener: Endpoint, *, dialled: bool) -> None:
        """Forget a connection that is gone."""
        holder = self._holders.pop((_plain(dialler), _plain(listener), dialled), None)
        if holder is not None and not dialled:
            self._before.pop(holder, None)

    def _is_loop(self, last: GuardedSession) -> bool:
        holder = self._before.get(last)
        while holder is not None:
            if holder.listen == last.listen:
                return True
            holder = self._before.get(holder)
        return False


class GuardedConnections:
    """The connections of one session that a guard knows.

    Args:
        guard: Knows those of all sessions.
        holder: The session.
    """

    def __init__(self, guard: LoopGuard, holder: GuardedSession) -> None:
        self._guard = guard
        self._holder = holder
        self._known: dict[object, tuple[Endpoint, Endpoint, bool]] = {}

    def add(self, peer: object, dialler: Endpoint, listener: Endpoint, *, dialled: bool) -> bool:
        """Do what `LoopGuard.add` does, for the connection of a peer."""
        self._known[peer] = dialler, listener, dialled
        return self._guard.add(dialler, listener, self._holder, dialled=dialled)

    def remove(self, peer: object) -> None:
        """Forget the connection of a peer, if it is known."""
        if peer in self._known:
            dialler, listener, dialled = self._known.pop(peer)
            self._guard.remove(dialler, listener, dialled=dialled)


def _plain(end: Endpoint) -> Endpoint:
    """Return an end with IPv4-mapped and unspecified addresses replaced, for comparing."""
    host = end.host.removeprefix("::ffff:")
    return Endpoint(LOOPBACK_OF.get(host, host), end.port)

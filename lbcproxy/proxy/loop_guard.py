"""LoopGuard that lead from us to us: an upstream that is a listener of the same process."""

from __future__ import annotations

from typing import Protocol

from lbcproxy.endpoint import Endpoint

__all__ = ["LoopGuard"]

SAME = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # who dials the one gets the other


class GuardedSession(Protocol):
    """A session that has one end of a connection."""

    @property
    def listen(self) -> Endpoint:
        """Where its client came in."""

    def leads_back(self) -> None:
        """End: the way from its client leads through its own listener again."""


class LoopGuard:
    """The connections of all sessions, each by who dialled and who listened.

    One that is there twice has both its ends here: a session leads to another. What a config calls
    its upstream does not tell, since a name or a second address may mean a listener of our own.
    One proxy may lead to another; but a way that comes by a listener twice would never end.
    """

    def __init__(self) -> None:
        self._holders: dict[tuple[Endpoint, Endpoint, bool], GuardedSession] = {}
        self._before: dict[
            GuardedSession, GuardedSession
        ] = {}  # by which session another was reached

    def add(
        self, dialler: Endpoint, listener: Endpoint, holder: GuardedSession, *, dialled: bool
    ) -> bool:
        """Take note of one, and of who of both we are.

        False if the way leads in a circle: then the sessions at both ends have been ended.
        """
        ends = _plain(dialler), _plain(listener)
        self._holders[*ends, dialled] = holder
        other = self._holders.get((*ends, not dialled))
        if other is None or not dialler.port:  # what is no TCP has no address
            return True
        earlier, later = (holder, other) if dialled else (other, holder)
        self._before[later] = earlier
        if not self._comes_by_twice(later):
            return True
        other.leads_back()
        holder.leads_back()
        return False

    def remove(self, dialler: Endpoint, listener: Endpoint, *, dialled: bool) -> None:
        """Forget one that is gone."""
        holder = self._holders.pop((_plain(dialler), _plain(listener), dialled), None)
        if holder is not None and not dialled:
            self._before.pop(holder, None)

    def _comes_by_twice(self, last: GuardedSession) -> bool:
        holder = self._before.get(last)
        while holder is not None:
            if holder.listen == last.listen:
                return True
            holder = self._before.get(holder)
        return False


def _plain(end: Endpoint) -> Endpoint:
    """Give an IPv4 address as such where IPv6 has it inside, and a host by its address."""
    host = end.host.removeprefix("::ffff:")
    return Endpoint(SAME.get(host, host), end.port)

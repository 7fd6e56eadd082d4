"""Connections that lead from us to us: an upstream that is a listener of the same process."""

from __future__ import annotations

from typing import Protocol

from lbcproxy.endpoint import Endpoint

__all__ = ["Connections"]

SAME = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # who dials the one gets the other


class Holder(Protocol):
    """A session that has one end of a connection."""

    def leads_back(self) -> None:
        """End: the other end of the connection is another session's."""


class Connections:
    """The connections of all sessions, each by who dialled and who listened.

    One that is there twice has both its ends here. What a config calls its upstream does not tell:
    a name or a second address may mean a listener of our own, and each session would make another.
    Both sessions are ended, since the second has begun to make a third.
    """

    def __init__(self) -> None:
        self._holders: dict[tuple[Endpoint, Endpoint, bool], Holder] = {}

    def add(self, dialler: Endpoint, listener: Endpoint, holder: Holder, *, dialled: bool) -> bool:
        """Take note of one, and of who of both we are.

        False if we are the other as well: then both sessions have been ended.
        """
        ends = _plain(dialler), _plain(listener)
        self._holders[*ends, dialled] = holder
        other = self._holders.get((*ends, not dialled))
        if other is None or not dialler.port:  # what is no TCP has no address
            return True
        other.leads_back()
        holder.leads_back()
        return False

    def remove(self, dialler: Endpoint, listener: Endpoint, *, dialled: bool) -> None:
        """Forget one that is gone."""
        self._holders.pop((_plain(dialler), _plain(listener), dialled), None)


def _plain(end: Endpoint) -> Endpoint:
    """Give an IPv4 address as such where IPv6 has it inside, and a host by its address."""
    host = end.host.removeprefix("::ffff:")
    return Endpoint(SAME.get(host, host), end.port)

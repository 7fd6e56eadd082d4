"""Matches the responses of a node with the requests of the other."""

from __future__ import annotations

from collections import deque

from lbcproxy.replay.as_server.chain import BlockChain
from lbcproxy.replay.as_server.request_types import REQUEST_TYPES, Key, RequestType
from lbcproxy.session import Message

__all__ = ["PendingRequest", "RequestMatcher"]


class PendingRequest:
    """One part of a request, and its responses."""

    __slots__ = ("answers", "key", "missing", "number", "over")

    def __init__(self, key: Key, number: int) -> None:
        self.key = key
        self.number = number
        self.answers: list[int] = []
        """The positions of the responses."""
        self.missing = False
        """Whether the response was `notfound`."""
        self.over = False
        """Whether the response is complete."""


class RequestMatcher:
    """Matches requests and responses, both in the order of the conversation.

    A node responds in order: a request that is still open after the response to a later one will
    not be answered. Only the objects of a `getdata` may come in any order.
    """

    def __init__(self, chain: BlockChain) -> None:
        self._chain = chain
        self._open: dict[str, dict[Key, deque[PendingRequest]]] = {
            command: {} for command in REQUEST_TYPES
        }
        self._kinds: dict[str, list[tuple[str, RequestType]]] = {}
        for command, request in REQUEST_TYPES.items():
            for answer in request.answers:
                self._kinds.setdefault(answer, []).append((command, request))
        self._number = 0
        self._last: tuple[Message, RequestType, list[PendingRequest]] | None = None

    def add_request(self, message: Message) -> list[PendingRequest]:
        """Add a message of the requesting node, and return the parts that it requests."""
        request = REQUEST_TYPES.get(message.command)
        found = []
        for key in request.parts(message) if request is not None else ():
            self._number += 1
            asked = PendingRequest(key, self._number)
            self._open[message.command].setdefault(key, deque()).append(asked)
            found.append(asked)
        return found

    def match_answer(self, message: Message, position: int) -> list[PendingRequest]:
        """Return the parts that a message of the other node answers; empty if unsolicited."""
        for command, request in self._kinds.get(message.command, ()):
            open_parts = self._open[command]
            keys = request.answers[message.command](message, open_parts, self._chain)
            if keys:
                found = [self._answer(command, request, key, message) for key in keys]
                for asked in found:
                    asked.answers.append(position)
                if command != "getdata":
                    self._give_up(found[0].number)
                self._last = (message, request, found)
                return found
        return self._follows_last(message, position)

    def _answer(
        self, command: str, request: RequestType, key: Key, message: Message
    ) -> PendingRequest:
        waiting = self._open[command][key]
        asked = waiting[0]
        asked.missing = message.command == "notfound"
        if request.is_last(key, message):
            asked.over = True
            waiting.popleft()
            if not waiting:
                del self._open[command][key]
        return asked

    def _follows_last(self, message: Message, position: int) -> list[PendingRequest]:
        """Return the parts of the previous response, if a message belongs to it."""
        if self._last is not None:
            answer, request, found = self._last
            belongs = request.followed.get(message.command)
            if belongs is not None and belongs(answer, message):
                for asked in found:
                    asked.answers.append(position)
                return found
        self._last = None
        return []

    def _give_up(self, number: int) -> None:
        for command, open_parts in self._open.items():
            if command == "getdata":
                continue
            for key, waiting in list(open_parts.items()):
                while waiting and waiting[0].number < number:
                    waiting.popleft()
                if not waiting:
                    del open_parts[key]

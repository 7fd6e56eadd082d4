"""Which message of a node answers which question of the other."""

from __future__ import annotations

from collections import deque

from lbcproxy.replay.as_server.chain import Chain
from lbcproxy.replay.as_server.questions import QUESTIONS, Key, Question
from lbcproxy.session import Message

__all__ = ["Asked", "Pairing"]


class Asked:
    """One part of a question that was asked, and what answered it."""

    __slots__ = ("answers", "key", "missing", "number", "over")

    def __init__(self, key: Key, number: int) -> None:
        self.key = key
        self.number = number
        self.answers: list[int] = []
        """The places of the messages that answered it."""
        self.missing = False
        """Whether the answer was that it is not there."""
        self.over = False
        """Whether it has its answer."""


class Pairing:
    """Takes what two nodes say in the order of a conversation; one asks, the other answers.

    A node answers in the order it was asked: what is still open behind a later question's answer
    is not answered any more. Only things by hash (`getdata`) may come in any order.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._open: dict[str, dict[Key, deque[Asked]]] = {command: {} for command in QUESTIONS}
        self._kinds: dict[str, list[tuple[str, Question]]] = {}
        for command, question in QUESTIONS.items():
            for answer in question.answers:
                self._kinds.setdefault(answer, []).append((command, question))
        self._number = 0
        self._last: tuple[Message, Question, list[Asked]] | None = None

    def asked(self, message: Message) -> list[Asked]:
        """Take a message of who asks; give the parts it asks for."""
        question = QUESTIONS.get(message.command)
        found = []
        for key in question.parts(message) if question is not None else ():
            self._number += 1
            asked = Asked(key, self._number)
            self._open[message.command].setdefault(key, deque()).append(asked)
            found.append(asked)
        return found

    def said(self, message: Message, place: int) -> list[Asked]:
        """Take a message of who answers; give the parts it answers: none if it was not asked."""
        for command, question in self._kinds.get(message.command, ()):
            open_parts = self._open[command]
            keys = question.answers[message.command](message, open_parts, self._chain)
            if keys:
                found = [self._answer(command, question, key, message) for key in keys]
                for asked in found:
                    asked.answers.append(place)
                if command != "getdata":
                    self._give_up(found[0].number)
                self._last = (message, question, found)
                return found
        return self._behind_the_last(message, place)

    def _answer(self, command: str, question: Question, key: Key, message: Message) -> Asked:
        waiting = self._open[command][key]
        asked = waiting[0]
        asked.missing = message.command == "notfound"
        if question.is_last(key, message):
            asked.over = True
            waiting.popleft()
            if not waiting:
                del self._open[command][key]
        return asked

    def _behind_the_last(self, message: Message, place: int) -> list[Asked]:
        """Take what belongs to the answer before it."""
        if self._last is not None:
            answer, question, found = self._last
            belongs = question.followed.get(message.command)
            if belongs is not None and belongs(answer, message):
                for asked in found:
                    asked.answers.append(place)
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

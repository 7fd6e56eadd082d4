"""The policy for requests that a recording has no response to."""

from __future__ import annotations

import msgspec

from lbcproxy.endpoint import Endpoint

__all__ = ["SILENCE", "BadPolicy", "UnansweredPolicy"]


class BadPolicy(ValueError):
    """The policy for unanswered requests is invalid; the text says why."""


class UnansweredPolicy(msgspec.Struct, frozen=True):
    """What to do about a request that the recording has no response to; by default, nothing."""

    notfound: bool = False
    """Whether a `getdata` is answered with `notfound`. Other requests have no such response."""
    upstream: Endpoint | None = None
    """A live node that answers instead."""

    @classmethod
    def parse(cls, text: str) -> UnansweredPolicy:
        """Return the policy for `silence`, `notfound` or `pass:HOST:PORT`; raises BadPolicy."""
        kind, colon, rest = text.partition(":")
        if kind == "pass" and colon:
            try:
                return cls(upstream=Endpoint.parse(rest))
            except ValueError as error:
                raise BadPolicy(str(error)) from None
        if text not in ("silence", "notfound"):
            raise BadPolicy(f"{text!r} is not silence, notfound or pass:HOST:PORT")
        return cls(notfound=text == "notfound")


SILENCE = UnansweredPolicy()

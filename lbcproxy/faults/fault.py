"""A fault as it is configured: its kind with attributes, in which stream, how likely, and when."""

from __future__ import annotations

import difflib
import shlex
from random import Random
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lbcproxy.faults.kind import Kind, all_kinds
from lbcproxy.faults.message import MessageKind, message_kinds
from lbcproxy.filters import BadFilter, parse

__all__ = ["STREAMS", "BadFault", "Fault", "known_kinds", "parse_fault", "random_of"]

STREAMS = ("upstream", "downstream", "both")
OF_MESSAGES = ("filter", "probability", "after_messages")
"""What only faults by message have."""


class BadFault(ValueError):
    """A fault that cannot be; `path` says which of its settings is wrong."""

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        self.what = what
        super().__init__(f"{path}: {what}")


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of a proxy, as toxiproxy has it, and with a schedule.

    Whoever makes one hears of what is wrong by BadFault, or by msgspec's ValidationError.
    """

    type: Annotated[str, Meta(description="what it does; see the table")]
    name: Annotated[str, Meta(description="what it is called; TYPE_STREAM if left out")] = ""
    stream: Annotated[
        Literal["upstream", "downstream", "both"],
        Meta(
            description="which way: to the upstream, or from it to the client; by message also both"
        ),
    ] = "downstream"
    toxicity: Annotated[
        float, Meta(ge=0, le=1, description="how likely it is to act on a session, from 0 to 1")
    ] = 1.0
    attributes: Annotated[Any, Meta(description="the attributes of the type")] = msgspec.field(
        default_factory=dict
    )
    after_bytes: Annotated[
        int, Meta(ge=0, description="let so many bytes of the stream pass first")
    ] = 0
    from_seconds: Annotated[
        float,
        Meta(ge=0, description="begin so long after the upstream is there, or the fault was added"),
    ] = 0.0
    for_seconds: Annotated[float | None, Meta(description="act only so long; null is for ever")] = (
        None
    )
    filter: Annotated[
        str, Meta(description="by message: which messages it meets, as docs/filters.md has it")
    ] = ""
    probability: Annotated[
        float, Meta(ge=0, le=1, description="by message: how likely it acts on one that it meets")
    ] = 1.0
    after_messages: Annotated[
        int, Meta(ge=0, description="by message: let so many that it meets pass first")
    ] = 0

    def __post_init__(self) -> None:
        kinds = known_kinds()
        if self.type not in kinds:
            near = difflib.get_close_matches(self.type, kinds, 1)
            words = f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"
            raise BadFault("type", f"{self.type!r} is no type of fault, {words}")
        if self.for_seconds is not None and not self.for_seconds > 0:
            raise BadFault("for_seconds", "a time above 0 is expected")
        self._check_kind()
        if "/" in self.name:
            raise BadFault("name", f"{self.name!r} has a slash in it")
        name = self.name or f"{self.type}_{self.stream}"
        msgspec.structs.force_setattr(self, "name", name)
        if not isinstance(self.attributes, Kind | MessageKind):
            made = _attributes(kinds[self.type], self.attributes)
            msgspec.structs.force_setattr(self, "attributes", made)

    def _check_kind(self) -> None:
        """Refuse what only the other kind of fault has."""
        if self.by_message:
            if self.after_bytes:
                raise BadFault("after_bytes", "a fault by message has after_messages")
            try:
                parse(self.filter or "true")
            except BadFilter as error:
                raise BadFault("filter", str(error)) from None
            return
        if self.stream == "both":
            raise BadFault("stream", f"{self.type} acts on bytes of one stream: make two of it")
        for field in msgspec.structs.fields(self):
            if field.name in OF_MESSAGES and getattr(self, field.name) != field.default:
                raise BadFault(field.name, f"{self.type} acts on bytes, not on messages")

    @property
    def by_message(self) -> bool:
        """Whether it acts on messages, not on bytes."""
        return self.type in message_kinds()

    @property
    def kind(self) -> Kind:
        """Its attributes, which know what to do; of a fault by byte."""
        made: Kind = self.attributes
        return made

    def __str__(self) -> str:
        given = msgspec.structs.asdict(self.attributes)
        for field in msgspec.structs.fields(self)[5:]:  # the schedule
            if (value := getattr(self, field.name)) != field.default:
                given[field.name] = value
        if self.toxicity < 1:
            given["toxicity"] = self.toxicity
        words = ", ".join(f"{name} {value}" for name, value in given.items() if value != "")
        return f"{self.name} ({words})"


def known_kinds() -> dict[str, Any]:
    """Give every kind, by byte and by message, by its type."""
    return {**all_kinds(), **message_kinds()}


def parse_fault(text: str) -> Fault:
    """Read `TYPE [NAME=VALUE ...]`: settings and attributes; raises BadFault.

    The stream is both where it can be, if it is not said.
    """
    kind, *words = shlex.split(text) or [""]
    settings: dict[str, Any] = {"type": kind}
    attributes: Any = {}
    if kind in message_kinds():
        settings["stream"] = "both"
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise BadFault(name, f"{word!r} is not NAME=VALUE")
        (settings if name in Fault.__struct_fields__ else attributes)[name] = value
    if kind in known_kinds():
        attributes = _attributes(known_kinds()[kind], attributes, strict=False)
    try:
        return msgspec.convert({**settings, "attributes": attributes}, Fault, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name, colon, rest = what.partition(": ")
        if not where and colon and name in Fault.__struct_fields__:  # our own checks say it so
            where, what = name, rest
        raise BadFault(where.rstrip("`") or kind, what) from None


def random_of(seed: int, session: int, fault: Fault) -> Random:
    """Give a fault its chances in one session: the same each time the same traffic passes."""
    return Random(f"{seed}/{session}/{fault.stream}/{fault.name}")  # noqa: S311  # no secret


def _attributes(kind: Any, given: Any, *, strict: bool = True) -> Any:
    if not isinstance(given, dict):
        raise BadFault("attributes", "attributes with their values are expected")
    fields = kind.__struct_fields__
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, 1)
            words = f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}"
            raise BadFault(f"attributes.{name}", f"{kind.type} has no such attribute, {words}")
    try:
        return msgspec.convert(given, kind, strict=strict)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name, colon, rest = what.partition(": ")
        if not where and colon and name in fields:  # of two attributes together
            where, what = name, rest
        path = f"attributes.{where.rstrip('`')}" if where else "attributes"
        raise BadFault(path, what) from None

"""A configured fault: its type and attributes, its stream, its probability and its schedule."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from random import Random
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from lbcproxy.deprecated import DeprecatedAttribute
from lbcproxy.faults.byte_fault import ByteFault, byte_faults
from lbcproxy.faults.handshake_fault import HandshakeFault
from lbcproxy.faults.message_fault import MessageFault, message_faults
from lbcproxy.filters import BadFilter, parse

__all__ = ["STREAMS", "BadFault", "Fault", "fault_types", "parse_fault", "random_of"]

STREAMS = ("upstream", "downstream", "both")
FaultAttributes: TypeAlias = ByteFault | MessageFault | HandshakeFault
SCHEDULE = ("after_bytes", "from_seconds", "for_seconds")
MESSAGE_SETTINGS = ("filter", "probability", "after_messages")
"""Settings that only faults by message have."""


class BadFault(ValueError):
    """An invalid fault; `path` is the setting that is wrong, as `attributes.delay`."""

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        self.what = what
        super().__init__(f"{path}: {what}")


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of a proxy: what toxiproxy calls a toxic, with a schedule.

    Raises BadFault, or msgspec's ValidationError, if a setting is invalid.
    """

    kind = DeprecatedAttribute("byte_fault")

    type: Annotated[str, Meta(description="what the fault does; see the table")]
    name: Annotated[str, Meta(description="its name; TYPE_STREAM if left out")] = ""
    stream: Annotated[
        Literal["upstream", "downstream", "both"],
        Meta(description="to the upstream, or from it to the client; both if it acts on no bytes"),
    ] = "downstream"
    toxicity: Annotated[
        float,
        Meta(ge=0, le=1, description="the probability that it acts on a session, from 0 to 1"),
    ] = 1.0
    attributes: Annotated[Any, Meta(description="the attributes of the type")] = msgspec.field(
        default_factory=dict
    )
    after_bytes: Annotated[
        int, Meta(ge=0, description="start after this many bytes of the stream")
    ] = 0
    from_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="start this long after the upstream connects, or after the fault is added",
        ),
    ] = 0.0
    for_seconds: Annotated[
        float | None, Meta(description="act only for this long; null is forever")
    ] = None
    filter: Annotated[
        str,
        Meta(
            description="by message: which messages it selects, in the language of docs/filters.md"
        ),
    ] = ""
    probability: Annotated[
        float,
        Meta(
            ge=0, le=1, description="by message: the probability that it acts on a selected message"
        ),
    ] = 1.0
    after_messages: Annotated[
        int, Meta(ge=0, description="by message: start after this many selected messages")
    ] = 0

    def __post_init__(self) -> None:
        types = fault_types()
        if self.type not in types:
            near = difflib.get_close_matches(self.type, types, 1)
            words = f"did you mean {near[0]}?" if near else f"there are {', '.join(types)}"
            raise BadFault("type", f"{self.type!r} is not a type of fault, {words}")
        if self.for_seconds is not None and not self.for_seconds > 0:
            raise BadFault("for_seconds", "a time above 0 is expected")
        self._check_settings()
        if "/" in self.name:
            raise BadFault("name", f"{self.name!r} has a slash in it")
        name = self.name or f"{self.type}_{self.stream}"
        msgspec.structs.force_setattr(self, "name", name)
        if not isinstance(self.attributes, FaultAttributes):
            made = _attributes(types[self.type], self.attributes)
            msgspec.structs.force_setattr(self, "attributes", made)

    def _check_settings(self) -> None:
        """Reject settings that only the other sort of fault has."""
        if self.by_message:
            if self.after_bytes:
                raise BadFault("after_bytes", "a fault by message has after_messages instead")
            try:
                parse(self.filter or "true")
            except BadFilter as error:
                raise BadFault("filter", str(error)) from None
            return
        if self.of_handshake:
            self._refuse((*SCHEDULE, *MESSAGE_SETTINGS), "acts once, when a leg is encrypted")
            return
        if self.stream == "both":
            raise BadFault("stream", f"{self.type} acts on the bytes of one stream: make two of it")
        self._refuse(MESSAGE_SETTINGS, "acts on bytes, not on messages")

    def _refuse(self, settings: Sequence[str], why: str) -> None:
        """Reject settings that have no meaning for this type."""
        for field in msgspec.structs.fields(self):
            if field.name in settings and getattr(self, field.name) != field.default:
                raise BadFault(field.name, f"{self.type} {why}")

    @property
    def by_message(self) -> bool:
        """Whether it acts on messages instead of bytes."""
        return self.type in message_faults()

    @property
    def of_handshake(self) -> bool:
        """Whether it acts on the handshake of an encrypted leg."""
        return self.type == HandshakeFault.type

    @property
    def needs_encryption(self) -> bool:
        """Whether it has no effect on a leg that is not encrypted."""
        if isinstance(self.attributes, MessageFault):
            return self.attributes.needs_encryption
        return self.of_handshake

    @property
    def by_byte(self) -> bool:
        """Whether it acts on the bytes of one stream."""
        return self.type in byte_faults()

    @property
    def byte_fault(self) -> ByteFault:
        """The attributes of a fault by byte, which decide what it does."""
        attributes: ByteFault = self.attributes
        return attributes

    def __str__(self) -> str:
        given = msgspec.structs.asdict(self.attributes)
        for field in msgspec.structs.fields(self)[5:]:  # the schedule and what follows it
            if (value := getattr(self, field.name)) != field.default:
                given[field.name] = value
        if self.toxicity < 1:
            given["toxicity"] = self.toxicity
        said = {name: value for name, value in given.items() if value not in ("", None)}
        words = ", ".join(f"{name} {value}" for name, value in said.items())
        return f"{self.name} ({words})"


def fault_types() -> dict[str, type[FaultAttributes]]:
    """Return every fault, by byte, of the handshake and by message, by its type."""
    return {**byte_faults(), HandshakeFault.type: HandshakeFault, **message_faults()}


def parse_fault(text: str) -> Fault:
    """Parse `TYPE [NAME=VALUE ...]`, whose names are settings and attributes; raises BadFault.

    Without `stream=`, a fault by message or of the handshake acts on both streams.
    """
    type_name, *words = shlex.split(text) or [""]
    settings: dict[str, object] = {"type": type_name}
    given: dict[str, object] = {}
    if type_name in message_faults() or type_name == HandshakeFault.type:
        settings["stream"] = "both"
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise BadFault(name, f"{word!r} is not NAME=VALUE")
        (settings if name in Fault.__struct_fields__ else given)[name] = value
    attributes: object = given
    if (fault_type := fault_types().get(type_name)) is not None:
        attributes = _attributes(fault_type, given, strict=False)
    try:
        return msgspec.convert({**settings, "attributes": attributes}, Fault, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name, colon, rest = what.partition(": ")
        if (
            not where and colon and name in Fault.__struct_fields__
        ):  # our own checks put it that way
            where, what = name, rest
        raise BadFault(where.rstrip("`") or type_name, what) from None


def random_of(seed: int, session: int, fault: Fault) -> Random:
    """Return the random numbers of a fault in one session: the same for the same traffic."""
    return Random(f"{seed}/{session}/{fault.stream}/{fault.name}")  # noqa: S311  # no secret


def _attributes(
    fault_type: type[FaultAttributes], given: object, *, strict: bool = True
) -> FaultAttributes:
    if not isinstance(given, dict):
        raise BadFault("attributes", "a mapping of attributes to values is expected")
    fields = fault_type.__struct_fields__
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, 1)
            words = f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}"
            raise BadFault(
                f"attributes.{name}", f"{fault_type.type} has no such attribute, {words}"
            )
    try:
        return msgspec.convert(given, fault_type, strict=strict)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name, colon, rest = what.partition(": ")
        if not where and colon and name in fields:  # of two attributes together
            where, what = name, rest
        path = f"attributes.{where.rstrip('`')}" if where else "attributes"
        raise BadFault(path, what) from None

"""The wire format: records, the codec and the framer. No I/O, no clock."""

from lbcproxy.deprecated import deprecated_names
from lbcproxy.wire.codec import Codec
from lbcproxy.wire.errors import BadPayload, BadRecord, UnknownCommand
from lbcproxy.wire.framer import (
    Frame,
    FrameEnd,
    FramePart,
    Framer,
    FrameStart,
    Junk,
    Run,
    StreamItem,
)
from lbcproxy.wire.partial import Partial
from lbcproxy.wire.record import MessageRecord, Record
from lbcproxy.wire.registry import commands, record_of, register

__all__ = [
    "BadPayload",
    "BadRecord",
    "Codec",
    "Frame",
    "FrameEnd",
    "FramePart",
    "FrameStart",
    "Framer",
    "Junk",
    "MessageRecord",
    "Partial",
    "Record",
    "Run",
    "StreamItem",
    "UnknownCommand",
    "commands",
    "record_of",
    "register",
]

__getattr__ = deprecated_names(__name__, {"Item": "StreamItem"})

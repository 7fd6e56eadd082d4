"""Bytes and values: records, the codec, the framer. No I/O, no time."""

from lbcproxy.wire.codec import Codec
from lbcproxy.wire.errors import BadPayload, BadRecord, UnknownCommand
from lbcproxy.wire.framer import Frame, FrameEnd, FramePart, Framer, FrameStart, Item, Junk, Run
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
    "Item",
    "Junk",
    "MessageRecord",
    "Partial",
    "Record",
    "Run",
    "UnknownCommand",
    "commands",
    "record_of",
    "register",
]

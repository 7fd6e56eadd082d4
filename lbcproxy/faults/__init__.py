"""Faults: what a bad network does to a connection, made on purpose and repeatable by a seed."""

from lbcproxy.faults.chain import Chain
from lbcproxy.faults.fault import STREAMS, BadFault, Fault, known_kinds, parse_fault, random_of
from lbcproxy.faults.kind import Kind, all_kinds
from lbcproxy.faults.message import MessageKind, message_kinds
from lbcproxy.faults.message_fault_hook import Meeting
from lbcproxy.faults.step import StreamEnd

__all__ = [
    "STREAMS",
    "BadFault",
    "Chain",
    "Fault",
    "Kind",
    "Meeting",
    "MessageKind",
    "StreamEnd",
    "all_kinds",
    "known_kinds",
    "message_kinds",
    "parse_fault",
    "random_of",
]

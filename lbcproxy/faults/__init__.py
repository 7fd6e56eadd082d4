"""Faults: what a bad network does to a connection, on purpose and repeatable with a seed."""

from lbcproxy.deprecated import deprecated_names
from lbcproxy.faults.action import StreamEnd
from lbcproxy.faults.byte_fault import ByteFault, byte_faults
from lbcproxy.faults.chain import FaultChain
from lbcproxy.faults.fault import STREAMS, BadFault, Fault, fault_types, parse_fault, random_of
from lbcproxy.faults.handshake_fault import HandshakeFault
from lbcproxy.faults.message_fault import MessageFault, message_faults
from lbcproxy.faults.message_fault_hook import MessageFaultHook

__all__ = [
    "STREAMS",
    "BadFault",
    "ByteFault",
    "Fault",
    "FaultChain",
    "HandshakeFault",
    "MessageFault",
    "MessageFaultHook",
    "StreamEnd",
    "byte_faults",
    "fault_types",
    "message_faults",
    "parse_fault",
    "random_of",
]

__getattr__ = deprecated_names(
    __name__,
    {
        "Chain": "FaultChain",
        "Kind": "ByteFault",
        "Meeting": "MessageFaultHook",
        "MessageKind": "MessageFault",
        "all_kinds": "byte_faults",
        "known_kinds": "fault_types",
        "message_kinds": "message_faults",
    },
)

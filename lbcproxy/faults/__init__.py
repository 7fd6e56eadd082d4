"""Faults: what a bad network does to a connection, made on purpose and repeatable by a seed."""

from lbcproxy.faults.chain import Chain
from lbcproxy.faults.fault import STREAMS, BadFault, Fault, random_of
from lbcproxy.faults.kind import Kind, all_kinds
from lbcproxy.faults.step import End

__all__ = [
    "STREAMS",
    "BadFault",
    "Chain",
    "End",
    "Fault",
    "Kind",
    "all_kinds",
    "random_of",
]

"""The states of a TCP connection (RFC 9293, 3.3.2), and the times of the model."""

from enum import IntEnum

from tests.capture.tcp_truth import MS, SECOND

TIME_WAIT_NS = 60 * SECOND
RETRANSMIT_NS = 300 * MS
DELAYED_ACK_NS = 40 * MS
CHALLENGE_NS = 500 * MS
MAX_TRIES = 7
LINUX_STEP = 65_537
"""How far above the old numbers Linux begins a connection that follows one in TIME-WAIT."""


class State(IntEnum):
    """What an end is at; those after LISTEN have a connection."""

    CLOSED = 0
    LISTEN = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    ESTABLISHED = 4
    FIN_WAIT_1 = 5
    FIN_WAIT_2 = 6
    CLOSE_WAIT = 7
    CLOSING = 8
    LAST_ACK = 9
    TIME_WAIT = 10

"""The connections of a captured session that a test makes up."""

from lbcproxy import networks
from lbcproxy.capture.reading.captured_connection import CapturedConnection, SharedState
from lbcproxy.capture.tcp.stream_events import Opened
from lbcproxy.endpoint import Endpoint
from lbcproxy.session import Direction, Session

REGTEST = networks.get("lbry-regtest")
CLIENT, PROXY = Endpoint("10.0.0.1", 50000), Endpoint("10.0.0.2", 9246)
LOCAL, NODE = Endpoint("10.0.0.2", 5000), Endpoint("10.0.0.3", 9246)


def leg(received=None, *, time_ns=5):
    """Return a connection: the client's leg, or the upstream's if it received that direction."""
    ends = (LOCAL, NODE) if received is Direction.TO_CLIENT else (CLIENT, PROXY)
    return CapturedConnection(
        Opened(1, *ends, time_ns, begun=True),
        lambda network: Session(7, network, stream_above=None),
        network=REGTEST,
        received=received,
        upstream="10.0.0.3:9246",
        shared=SharedState(),
    )

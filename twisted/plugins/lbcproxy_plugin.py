"""Makes `twistd lbcproxy` known to Twisted; no `__init__.py` may stand beside it."""

from twisted.application.service import ServiceMaker

__all__ = ["lbcproxy"]

lbcproxy = ServiceMaker(
    "lbcproxy",
    "lbcproxy.tap",
    "Stand between nodes of LBRY's or Bitcoin's network: understand, show and record.",
    "lbcproxy",
)

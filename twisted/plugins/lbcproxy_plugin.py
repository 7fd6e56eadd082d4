"""Registers `twistd lbcproxy` with Twisted; there must be no `__init__.py` in this folder."""

from twisted.application.service import ServiceMaker

__all__ = ["lbcproxy"]

lbcproxy = ServiceMaker(
    "lbcproxy",
    "lbcproxy.tap",
    "A proxy and recorder for the peer-to-peer protocol of LBRY and Bitcoin.",
    "lbcproxy",
)

"""A proxy for the peer-to-peer protocol of LBRY and Bitcoin: decodes, records and replays it.

`lbcproxy.wire` converts bytes to typed records and back, `lbcproxy.networks` has the chains,
`lbcproxy.peer` is a protocol endpoint, `lbcproxy.capture` reads and writes files of sessions.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]

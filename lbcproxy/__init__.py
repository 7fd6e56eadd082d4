"""Stand between two nodes of LBRY's or Bitcoin's network: understand, show, record, answer.

`lbcproxy.wire` turns bytes into typed records and back, `lbcproxy.networks` knows the chains,
`lbcproxy.peer` is a protocol endpoint, `lbcproxy.capture` reads and writes files of sessions.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]

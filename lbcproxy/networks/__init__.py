"""The networks that lbcproxy supports, one file per chain. New files are found by themselves.

To add a network, add a file with a tuple `NETWORKS` of `Network` objects.
"""

from lbcproxy.networks._network import AddressPrefixes, Network
from lbcproxy.networks._output_address import output_address
from lbcproxy.networks._registry import (
    SIGNET,
    all_networks,
    custom,
    get,
    meant_by,
    whose_magic,
    with_magic,
)

__all__ = [
    "SIGNET",
    "AddressPrefixes",
    "Network",
    "all_networks",
    "custom",
    "get",
    "meant_by",
    "output_address",
    "whose_magic",
    "with_magic",
]

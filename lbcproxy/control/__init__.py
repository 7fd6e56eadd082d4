"""The control API: change proxies, faults and recordings over HTTP, compatibly with toxiproxy."""

from lbcproxy.control.api import Api, Controlled
from lbcproxy.control.errors import ApiError
from lbcproxy.control.http import make_site
from lbcproxy.control.port import ControlPort

__all__ = ["Api", "ApiError", "ControlPort", "Controlled", "make_site"]

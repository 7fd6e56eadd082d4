"""The control API: proxies and their faults, changed over HTTP as toxiproxy's are."""

from lbcproxy.control.api import Api, Controlled
from lbcproxy.control.errors import ApiError
from lbcproxy.control.http import make_site
from lbcproxy.control.port import ControlPort

__all__ = ["Api", "ApiError", "ControlPort", "Controlled", "make_site"]

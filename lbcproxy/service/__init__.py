"""All proxies of a config as one service: started, reconfigured while it runs, and stopped."""

from lbcproxy.service.events import Events
from lbcproxy.service.logs import Logs, json_line, text_line
from lbcproxy.service.process import raise_open_files, return_freed_memory, run_reactor
from lbcproxy.service.service import LbcproxyService

__all__ = [
    "Events",
    "LbcproxyService",
    "Logs",
    "json_line",
    "raise_open_files",
    "return_freed_memory",
    "run_reactor",
    "text_line",
]

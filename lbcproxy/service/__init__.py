"""The proxy as a service: what a config describes, started, changed while it runs, and stopped."""

from lbcproxy.service.events import Events
from lbcproxy.service.logs import Logs, json_line, text_line
from lbcproxy.service.process import give_memory_back, raise_open_files, run_reactor
from lbcproxy.service.service import LbcproxyService

__all__ = [
    "Events",
    "LbcproxyService",
    "Logs",
    "give_memory_back",
    "json_line",
    "raise_open_files",
    "run_reactor",
    "text_line",
]

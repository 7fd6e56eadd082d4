"""Wireshark: a dissector in Lua made from the records, and where to put it."""

from lbcproxy.wireshark.install import FILE_NAME, NotOurs, install, plugin_folder, uninstall
from lbcproxy.wireshark.plugin import dissector

__all__ = ["FILE_NAME", "NotOurs", "dissector", "install", "plugin_folder", "uninstall"]

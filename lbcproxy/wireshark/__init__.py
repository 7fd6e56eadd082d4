"""A Lua dissector for Wireshark, generated from the records, and its installation."""

from lbcproxy.wireshark.install import FILE_NAME, NotOurs, install, plugin_folder, uninstall
from lbcproxy.wireshark.plugin import dissector

__all__ = ["FILE_NAME", "NotOurs", "dissector", "install", "plugin_folder", "uninstall"]

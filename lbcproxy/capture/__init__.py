"""Files of sessions: written as they happen, read as entries. One file a format."""

from lbcproxy.capture.file import CaptureFile, new_name
from lbcproxy.capture.reader import Capture, UnknownNetwork, open_capture
from lbcproxy.capture.recorder import LEGS, Recorder

__all__ = [
    "LEGS",
    "Capture",
    "CaptureFile",
    "Recorder",
    "UnknownNetwork",
    "new_name",
    "open_capture",
]

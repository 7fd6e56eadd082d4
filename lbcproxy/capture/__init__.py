"""Files of sessions: written as they happen, read as entries. One file a format."""

from lbcproxy.capture.events import Event, events, tell
from lbcproxy.capture.file import MOST_WAITING, CaptureFile
from lbcproxy.capture.loss import Loss
from lbcproxy.capture.reader import Capture, UnknownNetwork, open_capture
from lbcproxy.capture.recorder import LEGS, Recorder
from lbcproxy.capture.recording import PER, BadPattern, Recording, RecordingSettings, file_name

__all__ = [
    "LEGS",
    "MOST_WAITING",
    "PER",
    "BadPattern",
    "Capture",
    "CaptureFile",
    "Event",
    "Loss",
    "Recorder",
    "Recording",
    "RecordingSettings",
    "UnknownNetwork",
    "events",
    "file_name",
    "open_capture",
    "tell",
]

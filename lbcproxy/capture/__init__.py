"""Captures: files of sessions, written while sessions last and read as entries or events."""

from lbcproxy.capture.events import Event, tell
from lbcproxy.capture.reader import Capture, events, open_capture
from lbcproxy.capture.recording.file import MAX_QUEUED, CaptureFile
from lbcproxy.capture.recording.filename_pattern import FilenamePatternError, file_name
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.capture.recording.recording import PER, Recording, RecordingSettings
from lbcproxy.capture.recording.retention import Retention, RetentionPolicy
from lbcproxy.capture.recording.ring import Rings, RingSettings
from lbcproxy.capture.recording.switch import MAX_PEERS, Choice, Switch, involves_host
from lbcproxy.capture.recording.triggers import BY_HAND, DEFAULT_REASONS, REASONS
from lbcproxy.capture.writing.recorder import LEGS, Recorder
from lbcproxy.deprecated import deprecated_names
from lbcproxy.errors import UnknownNetwork

__getattr__ = deprecated_names(
    __name__,
    {
        "BadPattern": "FilenamePatternError",
        "Keeping": "RetentionPolicy",
        "MOST_PEERS": "MAX_PEERS",
        "MOST_WAITING": "MAX_QUEUED",
        "Tidier": "Retention",
        "is_of": "involves_host",
    },
)

__all__ = [
    "BY_HAND",
    "DEFAULT_REASONS",
    "LEGS",
    "MAX_PEERS",
    "MAX_QUEUED",
    "PER",
    "REASONS",
    "Capture",
    "CaptureFile",
    "Choice",
    "Event",
    "FilenamePatternError",
    "Loss",
    "Recorder",
    "Recording",
    "RecordingSettings",
    "Retention",
    "RetentionPolicy",
    "RingSettings",
    "Rings",
    "Switch",
    "UnknownNetwork",
    "events",
    "file_name",
    "involves_host",
    "open_capture",
    "tell",
]

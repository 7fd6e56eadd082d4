"""Files of sessions: written as they happen, read as entries. One file a format."""

from lbcproxy.capture.events import Event, tell
from lbcproxy.capture.reader import Capture, events, open_capture
from lbcproxy.capture.recording.file import MOST_WAITING, CaptureFile
from lbcproxy.capture.recording.filename_pattern import BadPattern, file_name
from lbcproxy.capture.recording.loss import Loss
from lbcproxy.capture.recording.recording import PER, Recording, RecordingSettings
from lbcproxy.capture.recording.retention import Keeping, Tidier
from lbcproxy.capture.recording.ring import Rings, RingSettings
from lbcproxy.capture.recording.switch import MOST_PEERS, Choice, Switch, is_of
from lbcproxy.capture.recording.triggers import BY_HAND, DEFAULT_REASONS, REASONS
from lbcproxy.capture.writing.recorder import LEGS, Recorder
from lbcproxy.errors import UnknownNetwork

__all__ = [
    "BY_HAND",
    "DEFAULT_REASONS",
    "LEGS",
    "MOST_PEERS",
    "MOST_WAITING",
    "PER",
    "REASONS",
    "BadPattern",
    "Capture",
    "CaptureFile",
    "Choice",
    "Event",
    "Keeping",
    "Loss",
    "Recorder",
    "Recording",
    "RecordingSettings",
    "RingSettings",
    "Rings",
    "Switch",
    "Tidier",
    "UnknownNetwork",
    "events",
    "file_name",
    "is_of",
    "open_capture",
    "tell",
]

"""What sessions tell of how their legs carry messages, live and in captures."""

import json

from lbcproxy.capture import Recorder, events, open_capture
from lbcproxy.capture.events import SectionHeader
from lbcproxy.capture.formats import read_packets
from lbcproxy.capture.packet import Packet
from lbcproxy.session import EventRouter
from lbcproxy.session.events import Delivered, TransportsAgreed
from tests.capture.fake_sessions import NETWORK, FakeSessions

__all__ = ["Told", "notes", "packets", "recorded", "told", "told_by"]


class Told:
    """An observer that writes down what matters here of what happens."""

    def __init__(self):
        self.found = []

    def session_started(self, _info):
        return self

    def handle(self, event):
        match event:
            case TransportsAgreed():
                self.found.append(event.info.transports)
            case Delivered():
                for delivery in event.deliveries:
                    self.found += [
                        (event.direction, event.info.transports, each.raw, each.form)
                        for each in delivery.entries
                    ]


def told(path):
    """Return what a file tells of that."""
    return told_by(events(open_capture(path)))


def told_by(happened):
    """Return what events tell of that."""
    found = Told()
    for event in happened:
        if not isinstance(event, SectionHeader):
            found.handle(event)
    return found.found


def recorded(path, happen, **settings):
    """Record what a function does with sessions, and return what was told live."""
    live = Told()
    with path.open("wb") as file:
        sessions = FakeSessions(live)
        routers = [EventRouter(Recorder(file.write, network=NETWORK.id, **settings))]
        routers.append(EventRouter(live))
        sessions.observer.handle = lambda event: [each.handle(event) for each in routers]
        happen(sessions)
    return live.found


def packets(path):
    """Return the packets of a file."""
    with path.open("rb") as file:
        return [each for each in read_packets(file) if isinstance(each, Packet)]


def notes(path):
    """Return what lbcproxy left on packets, in order."""
    return [json.loads(text) for each in packets(path) for text in each.custom]

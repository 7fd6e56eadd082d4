"""Sessions that are recorded to files, on a clock that only the test moves."""

from lbcproxy.background import Background
from lbcproxy.capture import Recording, RecordingSettings
from lbcproxy.filters import parse
from tests.capture.fake_sessions import NETWORK, FakeSessions


class RecordedSessions(FakeSessions):
    """Sessions that are recorded below a folder; `now` moves only when the test moves it."""

    def __init__(self, folder, *, selection="", **settings):
        super().__init__(step=0)
        self.folder = folder
        self.notices = []
        self.disk = Background(1 << 24)
        settings.setdefault("pattern", str(folder / "x.pcapng"))
        self.observer = self.recording = Recording(
            RecordingSettings(**settings),
            self.disk,
            lambda text, bad: self.notices.append((text, bad)),
            network=NETWORK.id,
            name="main",
            changes=False,
            selection=parse(selection) if selection else None,
            now=lambda: self.now,
        )
        self.recording.open()

    def close(self):
        """Wait until all is on the disk, and return the files in order of their names."""
        self.recording.close()
        assert self.disk.close(10)
        return self.files

    @property
    def files(self):
        """The files that exist, in order of their names."""
        return sorted(self.folder.rglob("*.pcapng"))

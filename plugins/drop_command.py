"""Drop messages of some commands.

Usage: lbcproxy run ... -s "drop_command commands=mempool,getaddr direction=to_upstream"
"""

from lbcproxy.plugin import Drop, Plugin


class DropCommand(Plugin):
    """Drop by command, and by direction if one is given."""

    commands: str
    direction: str = ""

    def asks_for(self):
        return self.commands.split(",")

    def on_message(self, session, message):
        if self.direction in ("", message.direction):
            return Drop(f"{message.command} is not allowed")
        return None

"""Replace the user agent that each node sends.

Usage: lbcproxy run ... -s "user_agent agent=/quiet:1.0/"
"""

from lbcproxy.plugin import Plugin, Replace


class UserAgent(Plugin):
    """Rewrite the user agent in every `version`."""

    agent: str

    def on_version(self, session, message):
        if message.record is None or message.record.user_agent is None:
            return None
        return Replace(message.replace(user_agent=self.agent.encode()))

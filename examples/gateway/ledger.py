"""What was said to whom, and what came: whether anything was lost or came twice is counted, not guessed. Pure."""

from __future__ import annotations


class Ledger:
    """Each text is said once in all: two that are alike would be one here.

    A text counts from when the program asked for it to be sent: whether the gateway's answer ever came or not, it must
    come to each of its readers once. `stored` are those that were answered.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.stored = 0
        self.lost: dict[tuple[str, str], None] = {}
        """What has yet to come: reader and text. Once all is quiet that is lost."""
        self.duplicated: list[tuple[str, str]] = []
        """What came once more."""
        self.misdelivered: list[tuple[str, str]] = []
        """What came to who was never meant."""
        self._came: set[tuple[str, str]] = set()

    @property
    def delivered(self) -> int:
        """How often a text came to a reader."""
        return len(self._came)

    def say(self, text: str, readers: list[str]) -> None:
        """Note that a text is being sent to these."""
        self.sent += 1
        self.lost.update(((reader, text), None) for reader in readers)

    def hear(self, reader: str, text: str) -> None:
        """Note that a text came to a reader."""
        entry = reader, text
        if entry in self._came:
            self.duplicated.append(entry)
        elif entry not in self.lost:
            self.misdelivered.append(entry)
        else:
            del self.lost[entry]
            self._came.add(entry)

    def figures(self) -> dict[str, int]:
        """Return how much there is of each."""
        return {
            "sent": self.sent,
            "stored": self.stored,
            "delivered": self.delivered,
            "lost": len(self.lost),
            "duplicated": len(self.duplicated),
            "misdelivered": len(self.misdelivered),
        }

"""Who is in the streams that a keeper keeps, by the nodes that follow them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice

from examples.gateway.links import Line
from examples.gateway.peering import Evict, Presences, Session
from examples.gateway.protocol import ROOM, Presence, encode, is_mailbox
from examples.gateway.ticks import Tick

_GATHER = 0.25
_MOST_NAMES = 50
_MOST_TOLD = 500


class Attendances:
    """For each stream the lines on which it is followed, and the sessions behind each of them.

    Of two sessions in one mailbox the newer one stays. In a room of up to `_MOST_TOLD` all are told who comes and goes,
    a quarter of a second's worth at a time.
    """

    def __init__(self) -> None:
        self._lines: dict[str, dict[Line, dict[str, Session]]] = {}
        self._came: dict[str, dict[str, None]] = {}
        self._left: dict[str, dict[str, None]] = {}
        self._tick = Tick(self._tell, _GATHER)

    def streams(self) -> list[str]:
        """Return the streams that anybody follows."""
        return list(self._lines)

    def followers(self, stream: str) -> Collection[Line]:
        """Return the lines on which a stream is followed."""
        return self._lines.get(stream, {}).keys()

    def follow(self, line: Line, stream: str, sessions: Iterable[Session]) -> None:
        """Note a follower, with all the sessions behind it."""
        before = self._lines.setdefault(stream, {}).get(line, {})
        now = {session.id: session for session in sessions}
        self._lines[stream][line] = now
        gone = [session for session in before.values() if session.id not in now]
        self._change(stream, [session for session in now.values() if session.id not in before], gone)

    def members(self, line: Line, stream: str, came: Iterable[Session], left: Iterable[Session]) -> None:
        """Note who came and who left behind a follower; of one that is none nothing is noted: it will follow."""
        sessions = self._lines.get(stream, {}).get(line)
        if sessions is None:
            return
        new = [session for session in came if session.id not in sessions]
        gone = [session for session in left if sessions.pop(session.id, None)]
        sessions.update((session.id, session) for session in new)
        self._change(stream, new, gone)

    def unfollow(self, line: Line, stream: str) -> None:
        """Note that a stream is followed on that line no longer."""
        lines = self._lines.get(stream, {})
        sessions = lines.pop(line, {})
        if not lines:
            self._lines.pop(stream, None)
        self._change(stream, [], list(sessions.values()))

    def forget(self, line: Line) -> None:
        """Note that a line is gone."""
        for stream in [stream for stream, lines in self._lines.items() if line in lines]:
            self.unfollow(line, stream)

    def drop(self, stream: str) -> None:
        """Forget a stream that is kept elsewhere now."""
        self._lines.pop(stream, None)

    def who(self, stream: str, most: int) -> tuple[list[str], int]:
        """Return up to so many of the users in a stream, and how many there are."""
        users = self._users(stream)
        return list(islice(users, most)), len(users)

    def _users(self, stream: str) -> dict[str, None]:
        lines = self._lines.get(stream, {})
        return dict.fromkeys(session.user for sessions in lines.values() for session in sessions.values())

    def _change(self, stream: str, came: list[Session], left: list[Session]) -> None:
        if is_mailbox(stream):
            if came:
                self._evict_older(stream)
        elif came or left:
            self._came.setdefault(stream, {}).update(dict.fromkeys(session.user for session in came))
            self._left.setdefault(stream, {}).update(dict.fromkeys(session.user for session in left))
            self._tick.ask()

    def _evict_older(self, stream: str) -> None:
        sessions = [(session, line) for line, ours in self._lines[stream].items() for session in ours.values()]
        if len(sessions) == 1:
            return
        newest = max(sessions, key=lambda pair: (pair[0].since, pair[0].id))
        for session, line in sessions:
            if session is not newest[0]:
                line.send(Evict(stream, session.id))

    def _tell(self) -> None:
        came, self._came = self._came, {}
        left, self._left = self._left, {}
        for stream, comers in came.items():
            if sum(map(len, self._lines.get(stream, {}).values())) > _MOST_TOLD:
                continue
            users = self._users(stream)
            # Somebody who left and came again, or came and left, within the time has not moved.
            new = [user for user in comers if user in users and user not in left.get(stream, {})]
            gone = [user for user in left.get(stream, {}) if user not in users]
            if new or gone:
                room = stream.removeprefix(ROOM)
                text = encode(Presence(room, new[:_MOST_NAMES], gone[:_MOST_NAMES], len(users)))
                for line in self.followers(stream):
                    line.send(Presences(stream, text))

    def close(self) -> None:
        """Tell nobody any more."""
        self._tick.cancel()

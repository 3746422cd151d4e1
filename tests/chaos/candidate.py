"""One candidate as a process: stands again and again, writes fenced while it leads, and says on stdout what it did.

Each line is a JSON object with the `kind` "begin", "write" or "end" (see `tests.chaos.history`). Times are of
CLOCK_MONOTONIC, which all processes of one machine share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from typing import Any

from clusterd import Deposed, Term
from clusterd.election import Election
from clusterd.etcd.client import Client
from clusterd.etcd.options import EtcdOptions
from clusterd.keys import Keyspace
from tests.chaos.writing import write

REGISTER = "/chaos/register"
"""The key that every leader writes, fenced."""


def say(kind: str, **facts: Any) -> None:
    print(json.dumps({"kind": kind, **facts}), flush=True)


async def reign(term: Term, candidate: str, seconds: float) -> None:
    """Lead for that long, and write all the while."""
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number += 1
        text, outcome = f"{term.fence} {candidate} {number}", "unknown"
        try:
            outcome = await write(term, REGISTER, text)
        finally:
            say("write", text=text, fence=term.fence, outcome=outcome)
        await asyncio.sleep(0.02)


async def stand_once(election: Election, candidate: str, seconds: float) -> None:
    async with election.lead() as term:
        say("begin", candidate=candidate, fence=term.fence, at=time.monotonic())
        try:
            await reign(term, candidate, seconds)
        finally:
            now = time.monotonic()
            say("end", fence=term.fence, at=min(now, term.lost.deadline), told=now, reason=term.lost.reason)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--etcd", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--election", default="chaos")
    parser.add_argument("--ttl", type=int, default=2)
    parser.add_argument("--settle", type=float, default=0.25)
    parser.add_argument("--reign", type=float, default=1.0, help="mean seconds after which a leader resigns")
    given = parser.parse_args()
    async with Client(EtcdOptions.of(given.etcd)) as client:
        election = Election(client, Keyspace(), given.election, value=given.id, ttl=given.ttl, settle=given.settle)
        while True:
            try:
                await stand_once(election, given.id, random.uniform(0.5, 1.5) * given.reign)
            except Deposed as error:
                say("deposed", reason=str(error))


if __name__ == "__main__":
    asyncio.run(main())

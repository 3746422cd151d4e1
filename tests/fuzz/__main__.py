"""`python -m tests.fuzz --seconds 600`: look for trouble with one seed after the other until the time is over."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time


def main() -> int:
    """Run the tests of this folder again and again; return 1 at the first failure, which names its seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--scale", type=int, default=10, help="how many times the examples of make test in each round")
    parser.add_argument("--seed", type=int, help="one round, with this seed")
    given = parser.parse_args()
    end, rounds = time.monotonic() + given.seconds, 0
    while rounds == 0 or (given.seed is None and time.monotonic() < end):
        seed = random.getrandbits(32) if given.seed is None else given.seed
        print(f"seed {seed}", flush=True)
        pytest = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "tests/fuzz",
            f"--hypothesis-seed={seed}",
            "--timeout=1800",
        ]
        if subprocess.run(pytest, env=os.environ | {"FUZZ_SCALE": str(given.scale)}, check=False).returncode:
            print(f"failed with seed {seed}: python -m tests.fuzz --scale {given.scale} --seed {seed}")
            return 1
        rounds += 1
    print(f"{rounds} rounds, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())

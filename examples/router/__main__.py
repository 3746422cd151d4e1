"""`python -m examples.router`."""

from __future__ import annotations

from examples.router.command import main

main()

"""`python -m examples.gateway`: run a node, or a small fleet of them."""

from __future__ import annotations

from examples.gateway.main import main

if __name__ == "__main__":
    main()

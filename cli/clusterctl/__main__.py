"""`python -m clusterctl`."""

from __future__ import annotations

from clusterctl.main import main

if __name__ == "__main__":
    main()

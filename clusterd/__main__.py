"""`python -m clusterd`: the same as the command `clusterd`."""

from clusterd.sidecar.main import main

main()

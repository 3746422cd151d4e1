"""Tests by input that nobody would think of: briefly in `make test`, for as long as wanted in `make fuzz`."""

"""Routing: pure functions of a topology, no I/O."""

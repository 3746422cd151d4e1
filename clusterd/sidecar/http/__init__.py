"""The daemon's two listeners: probes for whoever runs it, control for the gateway beside it (docs/protocol.md)."""

"""The front door of a fleet: an HTTP and WebSocket reverse proxy that picks a node from the live topology."""

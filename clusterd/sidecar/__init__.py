"""The sidecar: the agent run as a process of its own beside a gateway."""

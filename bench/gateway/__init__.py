"""The gateway of examples/gateway beside hubs in Go and Node.js that do the same work, under one load client in C."""

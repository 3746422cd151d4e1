"""A real-time message gateway on clusterd: mailboxes and rooms over WebSocket, on as many nodes as one likes."""

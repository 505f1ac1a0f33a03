"""The server's door: one façade over the node, and JSON-RPC, HTTP and WebSocket in front of it."""

"""The caller's door: JSON-RPC clients, async and sync, and the event stream of a node."""

"""Peers: frames, sessions, node keys over TLS, connections, and the manager that keeps them."""

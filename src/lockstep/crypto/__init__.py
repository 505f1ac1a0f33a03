"""Hashes, Ed25519 and addresses; makes no randomness and keeps no state."""

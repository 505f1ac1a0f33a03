"""Logs and metrics, derived outside the core from what happens at its door."""

"""Measurements of the parts: each a named benchmark, all through one frame."""

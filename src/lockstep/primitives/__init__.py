"""Shapes, ids, committee, codec and parameters: the nouns every other room speaks in."""

"""Coins, validity and rewards: what a chain's state is and how a block changes it."""

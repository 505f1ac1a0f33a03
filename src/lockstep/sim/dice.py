"""The dice of a world: one for each part of it, all made from the seed.

With dice of its own a part draws the same whatever the others do: an option that is fixed changes
what it is about, and little else of the seed's world.
"""

from random import Random


def make_dice(seed: int, part: str) -> Random:
    """Return the dice of one part of a seed's world; the same on every machine."""
    return Random(f"{seed} {part}")

"""Byzantine members: the real core behind masks that bend what leaves and what arrives [M1]."""

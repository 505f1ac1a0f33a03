"""The disk: one LMDB environment with journal, blocks, coins and indexes, changed together [D4]."""

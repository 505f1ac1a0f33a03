"""Keys, seed words, the encrypted wallet file, and payments made of coins; never in a node."""

"""A network in a folder: node processes, a funded wallet, load, faults, and the judge."""

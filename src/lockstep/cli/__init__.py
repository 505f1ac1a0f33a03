"""The command line: the outermost door, for people and scripts."""

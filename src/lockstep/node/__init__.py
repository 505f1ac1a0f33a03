"""The shell of one node: threads, clock, sockets and disk around the one replica."""

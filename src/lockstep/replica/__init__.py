"""The replica: one event in, a list of effects out; no clock, no dice, no sockets, no log."""

"""What masternodes agree on and how: votes, rounds and heights of blocks [T1], payments [F1-F6].

Counting and rules only. No I/O and no clock; coins, pools and blocks' contents are unknown here.
"""

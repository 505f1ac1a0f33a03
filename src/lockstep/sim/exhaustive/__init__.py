"""Small models explored to the last state: the real core under every order of messages.

Three honest members and a Byzantine one, which is not a node but a choice, share two or three
payments over one to four heights. Every state that any order of deliveries, decisions, Byzantine
words and crashes can lead to within the stated bound is visited breadth first, and the promises are
asked in each. What steps is `replica.Replica`; nothing of the protocol is written down again.
"""

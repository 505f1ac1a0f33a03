"""The pool: payments held that are not in the chain, what was refused, and what is taken first."""

"""The pages of docs/reference, written from the code itself; a test holds them to it."""

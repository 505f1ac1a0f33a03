"""Bugs and removed rules of the product, which exist only here; the tests of the tests."""

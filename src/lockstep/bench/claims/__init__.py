"""The claims ledger: seven claims of speed, each a naive variant against the product's own."""

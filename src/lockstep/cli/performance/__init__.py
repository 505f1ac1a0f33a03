"""The page docs/performance.md, written from the reports beside it; a test holds it to them."""

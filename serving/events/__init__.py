"""What changed, in order: an append-only table that pages and histories are made from."""

"""Files: whole or absent, records as JSON, weights, tables."""

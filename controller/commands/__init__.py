"""One module per command: `run(m)` returns the JSON document, or raises a Problem."""

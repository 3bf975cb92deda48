"""A page of results from the files of measurements: what was measured, on what, and what limits it."""

"""The statistics of accusation."""

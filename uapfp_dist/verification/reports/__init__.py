"""Verdicts for readers and programs."""

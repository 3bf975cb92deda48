"""Suspects, a file for each protocol."""

"""Fingerprint methods, a file for each kind."""

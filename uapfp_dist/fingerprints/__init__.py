"""Fingerprints: from a victim to a probe, from responses to scores."""

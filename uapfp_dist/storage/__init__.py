"""Artifacts, addressed by content."""

"""Perform one task: read what it needs, compute, publish the artifact."""

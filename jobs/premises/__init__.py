"""Machines made on this one, and a cluster file for them."""

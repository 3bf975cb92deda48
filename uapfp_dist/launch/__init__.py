"""Runs from a configuration to a result, here or on Ray. This package knows every other one."""

"""Hosts made on this machine, what is killed there, and how it is counted what was made again."""

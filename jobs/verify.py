"""Query suspects from a cluster, a task each, and judge them by a kit.

    ray job submit --working-dir . -- python jobs/verify.py --kit /shared/kit --suspects suspects.json

It is `uapfp verify`, with the same options.
"""

from uapfp_dist.cli.main import script

if __name__ == "__main__":
    script("verify")

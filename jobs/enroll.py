"""Enroll a victim on a cluster: train what it takes, and write the kit that judges suspects.

    ray job submit --working-dir . -- python jobs/enroll.py --out /shared/kit --storage /shared/results

It is `uapfp enroll`, with the same options.
"""

from uapfp_dist.cli.main import script

if __name__ == "__main__":
    script("enroll")

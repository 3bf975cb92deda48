"""A grid over an evaluation, to submit to a cluster.

    ray job submit --working-dir . -- python jobs/ablations.py --grid zoo.overlap=0,0.5,1 --storage /shared/results

It is `uapfp ablate`, with the same options.
"""

from uapfp_dist.cli.main import script

if __name__ == "__main__":
    script("ablate")

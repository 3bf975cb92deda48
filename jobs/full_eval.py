"""The main job, to submit to a cluster: train a zoo, extract models, fingerprint them all, judge every suspect.

    ray job submit --working-dir . -- python jobs/full_eval.py --preset digits-large --storage /shared/results

It is `uapfp evaluate`, with the same options.
"""

from uapfp_dist.cli.main import script

if __name__ == "__main__":
    script("evaluate")

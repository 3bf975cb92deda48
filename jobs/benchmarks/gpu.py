"""Measure a GPU: on a bare machine with one, 16 cores and no network, six minutes in all.

    PYTHONPATH=. python jobs/benchmarks/gpu.py --out OUT --data-root DATA

agreement   CPU and GPU: training, answers, DeepFool, UAP, encoder, INT8, kit scores
switches    milliseconds a step and seconds a model of ten nets, with and without each of our switches
zoo         models of fashion_mnist at the paper's scale, as far as time goes
processes   several processes on one GPU, with MPS and without
rivals      DeepFool and UAP against ART and torchattacks, where they are installed

OUT/gpu.json has what was found, what failed and what was not reached, after every part; OUT/PART.json after every
measurement. `--tiny --device cpu` is a rehearsal.
"""

from uapfp_dist.benchmarks.gpu.command import main

if __name__ == "__main__":
    main(__doc__)

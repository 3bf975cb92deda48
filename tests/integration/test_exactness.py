"""The exact sibling test on real digits: over many victims, how often is a model claimed that learned nothing of them?

A proof of half an hour: `pytest -m heavy tests/integration/test_exactness.py`, fewer groups by $UAPFP_GROUPS.
"""

import math
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch

import uapfp_dist as ufp
from uapfp_dist.fingerprints.pool import make_pool, pool_labels
from uapfp_dist.fingerprints.sibling_test import Players, p_values, sibling_test
from uapfp_dist.tasks.method_configs import ChurnConfig, SiblingTestConfig

N_GROUPS, N_SIBLINGS = int(os.environ.get("UAPFP_GROUPS", "200")), 19
KINDS = ("trained on other images", "trained on the victim's images", "stolen from another sibling")


def p_of_group(group: int) -> list[float]:
    """p of three suspects, none of them derived from the victim; a victim and siblings of their own for every group."""
    torch.set_num_threads(1)
    data = ufp.load("digits", train_share=0.3, outside_shares=(0.8, 0.05, 0.15), seed=50_000 + group)
    *players, outside = [ufp.train("A", data.victim_set, epochs=40, seed=i) for i in range(N_SIBLINGS + 2)]
    suspects = [
        ufp.train("B", data.homologous(0), epochs=40),
        ufp.train("C", data.victim_set, epochs=40),
        ufp.extract(outside, data.pool, attack="knockoff", architecture="D", budget=1000),
    ]
    pool = make_pool(data.probe.images, ChurnConfig(pool_size=6000), f"exactness {group}")
    said = [pool_labels(model, pool) for model in players]
    nothing = torch.zeros(len(said), 0, len(pool.base), dtype=torch.int64)
    test = sibling_test(
        Players(torch.stack([s.labels for s in said]), torch.stack([s.margins for s in said]), nothing, pool.base),
        SiblingTestConfig(n_points=50),
    )
    answers = torch.stack([pool_labels(model, pool).labels for model in suspects])
    return p_values(test.statistics(answers)).tolist()


@pytest.mark.heavy
def test_the_victim_is_claimed_at_most_at_alpha_over_victims() -> None:
    """At .05 and .25, each kind of suspect, to two standard errors; the counts are printed."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        p = torch.tensor(list(workers.map(p_of_group, range(N_GROUPS))))
    for kind, values in zip(KINDS, p.T, strict=True):
        for alpha in (0.05, 0.25):
            claimed = int((values <= alpha + 1e-9).sum())
            print(f"{kind}: {claimed} of {N_GROUPS} victims claimed at {alpha}")
            assert claimed / N_GROUPS <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / N_GROUPS)

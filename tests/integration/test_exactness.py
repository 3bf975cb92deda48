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
N_MORE = 9
"""Further suspects of the first kind for every victim: how errors hang together."""


def p_of_group(group: int) -> list[float]:
    """p of suspects, none of them derived from the victim: one of each kind, then the further ones.

    Every group has a victim and siblings of its own.
    """
    torch.set_num_threads(1)
    data = ufp.load("digits", train_share=0.3, outside_shares=(0.8, 0.05, 0.15), seed=50_000 + group)
    *players, outside = [ufp.train("A", data.victim_set, epochs=40, seed=i) for i in range(N_SIBLINGS + 2)]
    suspects = [
        ufp.train("B", data.homologous(0), epochs=40),
        ufp.train("C", data.victim_set, epochs=40),
        ufp.extract(outside, data.pool, attack="knockoff", architecture="D", budget=1000),
    ]
    suspects += [ufp.train("BCDE"[i % 4], data.homologous(1 + i), epochs=40, seed=i) for i in range(N_MORE)]
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
@pytest.mark.timeout(7200)
def test_the_victim_is_claimed_at_most_at_alpha_over_victims() -> None:
    """At .05 and .25, each kind of suspect, to two standard errors; the counts are printed."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        p = torch.tensor(list(workers.map(p_of_group, range(N_GROUPS))))
    claimed = (p <= 0.05 + 1e-9).double()
    alike = torch.cat([claimed[:, :1], claimed[:, len(KINDS) :]], dim=1)
    most = int((alike.mean(1) > 0.2).sum())
    print(f"{KINDS[0]}: {alike.mean():.3f} of {alike.numel()} claimed; for {most} victims more than a fifth of theirs")
    for kind, values in zip(KINDS, p.T[: len(KINDS)], strict=True):
        for alpha in (0.05, 0.25):
            hits = int((values <= alpha + 1e-9).sum())
            print(f"{kind}: {hits} of {N_GROUPS} victims claimed at {alpha}")
            assert hits / N_GROUPS <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / N_GROUPS)

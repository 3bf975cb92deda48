"""The figure of the overlap study draws the intervals that its table has."""

from dataclasses import replace

import numpy as np
import pytest
from everything import everything
from matplotlib.collections import LineCollection
from random_scores import report_data
from system import tiny_plan

from uapfp_dist.config.schema import VerdictConfig
from uapfp_dist.reporting.sections.overlap import overlap


def test_bars_are_the_intervals_over_models() -> None:
    """Not the range over the six models of each rate."""
    config = everything()
    zoo = replace(config.zoo, n_piracy=6, n_homologous=7)
    plan = tiny_plan(replace(config, zoo=zoo, studies=replace(config.studies, n_overlap=6)))
    section = overlap(report_data(plan, VerdictConfig(n_train=2, n_calibrate=2, alpha=0.5)))
    assert section is not None
    table = section.tables["overlap"]
    assert (table["models"] == 6).all()
    for axis, y in zip(section.figures["overlap"].axes, ("similarity", "auc"), strict=True):
        bars = [c for c in axis.collections if isinstance(c, LineCollection)]
        drawn = np.sort(np.concatenate([[segment[:, 1] for segment in c.get_segments()] for c in bars]), axis=0)
        wanted = np.sort(table[[f"{y}_low", f"{y}_high"]].to_numpy(float), axis=0)
        assert drawn == pytest.approx(wanted)

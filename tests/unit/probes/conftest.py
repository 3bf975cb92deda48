"""A small probe of the victim, made once."""

import pytest
from torch import Tensor

from uapfp_dist.config.presets import preset
from uapfp_dist.data import Dataset
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.fingerprints.probe import make_probe
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.models import Net
from uapfp_dist.tasks.method_configs import FingerprintConfig, UapConfig
from uapfp_dist.tasks.specs import ProbeSpec


@pytest.fixture(scope="session")
def probe_spec(digits: Dataset) -> ProbeSpec:
    """A small one."""
    return ProbeSpec(
        make_plan(preset("digits"), 0, digits).members[0].spec,
        UapConfig(xi_grid=(0.3, 0.6), n_images=400, passes=4, xi_fractions=(0.5,), n_uaps=2),
        FingerprintConfig(n_points=6, n_views=5, n_test_views=3, n_natural=20),
        seed=0,
    )


@pytest.fixture(scope="session")
def probe(probe_spec: ProbeSpec, victim: Net, own: Tensor, held_out: Tensor, held_out_labels: Tensor) -> Probe:
    """The probe of the victim, made as the pipeline makes it."""
    return make_probe(victim, probe_spec, own, held_out, held_out_labels)

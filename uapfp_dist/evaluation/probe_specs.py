"""Probes beside the victim's own, as specs."""

from dataclasses import replace

from uapfp_dist.config.schema import Config
from uapfp_dist.fingerprints.ipguard_targets import K_GRID
from uapfp_dist.fingerprints.methods.registry import REFERENCE_METHODS, REFERENCE_TWIN_METHODS
from uapfp_dist.tasks.reference_specs import ReferenceSpec
from uapfp_dist.tasks.specs import ProbeSpec, ProbeTwinSpec


def probe_twin(config: Config, probe: ProbeSpec) -> ProbeTwinSpec | None:
    """What shows whether a fingerprint finds the victim's run or its training images."""
    wanted = config.siblings.n_committee and config.churn.twins and config.uap.references
    return ProbeTwinSpec(probe) if wanted else None


def second_probe(config: Config, probe: ProbeSpec) -> ProbeSpec | None:
    """As many views as a suspect is tested by, from whole clusters: no cluster of Algorithm 1 has many more members."""
    if not config.studies.whole_clusters:
        return None
    n_test_views = config.fingerprint.n_test_views
    return replace(probe, fingerprint=replace(probe.fingerprint, views="whole_clusters", n_views=n_test_views))


def reference_specs(config: Config, probe: ProbeSpec) -> tuple[ReferenceSpec, ...]:
    """Those that the methods compared take, on points of D_v first: who compares none is queried with nothing more."""
    compared, twin = set(config.verdict.compared), probe_twin(config, probe)
    found = [ReferenceSpec(probe, K_GRID)] if compared & REFERENCE_METHODS.keys() else []
    if twin and compared & REFERENCE_TWIN_METHODS.keys():
        found.append(ReferenceSpec(twin, K_GRID))
    return tuple(found)

"""Fingerprint methods by name.

To add one: a `Method` (`methods.base`) that scores a response matrix, a line in METHODS. An evaluation that names no
methods has all of them, so its id changes, and what it fits; its models and responses are used again. Images that no
method queries with yet: a block in `fingerprints.blocks` and `fingerprints.probe`.
"""

from uapfp_dist.fingerprints.blocks import (
    CHURN,
    CHURN_NATURAL,
    CHURN_RANDOM,
    CHURN_UAP,
    CLEAN,
    CLEAN_PROBE,
    DEEPFOOL,
    IPGUARD,
    IPGUARD_K,
    IPGUARD_K_PROBE,
    LAP,
    LAP_MINIMAL,
    LAP_PAPER,
    LAP_PROBE,
    NATURAL,
    PAPER,
    RANDOM,
    RANDOM_PAPER,
    RANDOM_PROBE,
    UAP,
    UAP_PROBE,
    twin_of,
)
from uapfp_dist.fingerprints.methods.agreement import MatchingRate, WeightedLabels
from uapfp_dist.fingerprints.methods.base import Method
from uapfp_dist.fingerprints.methods.churn import Churn, WeightedChurn
from uapfp_dist.fingerprints.methods.confidence import Confidence
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod, Ensemble
from uapfp_dist.fingerprints.methods.sample_correlation import SampleCorrelation

_UAP = EncoderMethod("UAPs in turn over the views, encoders at every norm averaged", UAP)
_ALSO_OTHER_VICTIMS = EncoderMethod("as uap, the encoder also learns from models stolen from another victim", UAP, True)


PROBE_METHODS: dict[str, Method] = {
    "uap_paper": EncoderMethod("one UAP of the paper's norm", PAPER),
    "uap_deepfool": EncoderMethod("one UAP of the paper's norm, made by the DeepFool loop", DEEPFOOL),
    "uap": _UAP,
    "uap_controls": _ALSO_OTHER_VICTIMS,
    "uap_weighted": WeightedLabels("labels on x + v weighted by the training models, no encoder", UAP),
    "uap_ensemble": Ensemble("the encoders of uap and uap_controls, averaged", (_UAP, _ALSO_OTHER_VICTIMS)),
    "clean": EncoderMethod("clean points only", CLEAN),
    "random": EncoderMethod("random vectors of the UAPs' norm, in turn over the views", RANDOM),
    "random_paper": EncoderMethod("one random vector of the paper's norm", RANDOM_PAPER),
    "lap": EncoderMethod("local perturbation (DeepFool) at the UAPs' norms", LAP),
    "lap_paper": EncoderMethod("local perturbation (DeepFool) at the paper's norm", LAP_PAPER),
    "lap_minimal": EncoderMethod("local perturbation (DeepFool) as it comes, to the nearest boundary", LAP_MINIMAL),
    "agreement": MatchingRate("label agreement with the victim on x + v", UAP, per_view=True, only_labels=True),
    "confidence": Confidence(),
    "ipguard": MatchingRate("as IPGuard, for any other label, at a lead of 0 to .05", IPGUARD),
    "natural_errors": MatchingRate("agreement with the victim on its natural errors (AKH)", NATURAL),
    "sac": SampleCorrelation(),
    "weighted_errors": WeightedLabels("natural errors weighted by the training models", NATURAL),
    "weighted_errors_controls": WeightedLabels(
        "as weighted_errors, also against models stolen from another victim", NATURAL, True
    ),
}
"""Methods whose images need the victim alone."""

REFERENCE_METHODS: dict[str, Method] = {
    "ipguard_tuned": MatchingRate("IPGuard: points at a target label, k chosen on the training models", IPGUARD_K),
    "sac_w": SampleCorrelation("SAC-w: as sac, on images that the stolen training models get wrong, too", True),
}
"""Methods that need more than the probe: IPGuard's points, true labels."""

SIBLING_METHODS: dict[str, Method] = {
    "churn": Churn("agreement where the victim disagrees with its siblings, nothing learned", CHURN),
    "weighted_churn": WeightedChurn(
        "as churn, weighted by the training models, also against models stolen from siblings", CHURN
    ),
    "weighted_churn_controls": WeightedChurn(
        "as weighted_churn, trained as the other _controls: no models stolen from siblings", CHURN, from_siblings=False
    ),
    "churn_natural": Churn("as churn, natural images alone", CHURN_NATURAL),
    "churn_uap": Churn("as churn, images moved by the victim's UAPs", CHURN_UAP),
    "churn_random": Churn("as churn, images moved by random vectors of the UAPs' norm", CHURN_RANDOM),
}
"""Methods that need siblings of the victim."""

_UAP_PROBE = EncoderMethod("as uap, on points of PROBE, which nothing trained on", UAP_PROBE)
_ALSO_OTHER_VICTIMS_PROBE = EncoderMethod("as uap_controls, on points of PROBE", UAP_PROBE, True)
TWIN_METHODS: dict[str, Method] = {
    "uap_probe": _UAP_PROBE,
    "random_probe": EncoderMethod("as random, on points of PROBE", RANDOM_PROBE),
    "uap_controls_probe": _ALSO_OTHER_VICTIMS_PROBE,
    "uap_ensemble_probe": Ensemble("as uap_ensemble, on points of PROBE", (_UAP_PROBE, _ALSO_OTHER_VICTIMS_PROBE)),
    "uap_weighted_probe": WeightedLabels("as uap_weighted, on points of PROBE", UAP_PROBE),
    "clean_probe": EncoderMethod("as clean, on points of PROBE", CLEAN_PROBE),
    "agreement_probe": MatchingRate("as agreement, on points of PROBE", UAP_PROBE, True, True),
    "confidence_probe": Confidence("as confidence, on points of PROBE", CLEAN_PROBE),
}
"""The same methods on points of PROBE: what of their evidence is lineage, and not membership in D_v."""

REFERENCE_TWIN_METHODS: dict[str, Method] = {
    "uap_paper_probe": EncoderMethod("as uap_paper, on points of PROBE", twin_of(PAPER)),
    "uap_deepfool_probe": EncoderMethod("as uap_deepfool, on points of PROBE", twin_of(DEEPFOOL)),
    "random_paper_probe": EncoderMethod("as random_paper, on points of PROBE", twin_of(RANDOM_PAPER)),
    "lap_probe": EncoderMethod("as lap, on points of PROBE", LAP_PROBE),
    "lap_paper_probe": EncoderMethod("as lap_paper, on points of PROBE", twin_of(LAP_PAPER)),
    "lap_minimal_probe": EncoderMethod("as lap_minimal, on points of PROBE", twin_of(LAP_MINIMAL)),
    "ipguard_probe": MatchingRate("as ipguard_tuned, on points of PROBE", IPGUARD_K_PROBE),
}
"""The others of those, which models must be queried for apart."""

METHODS = PROBE_METHODS | SIBLING_METHODS | TWIN_METHODS | REFERENCE_METHODS | REFERENCE_TWIN_METHODS


def twin_name(method: str) -> str:
    """The method on points of PROBE that stands for what `method` says of lineage; itself where it has none."""
    found = "ipguard_probe" if method == "ipguard_tuned" else f"{method}_probe"
    return found if found in METHODS else method

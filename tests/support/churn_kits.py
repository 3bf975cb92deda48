"""Two kits of churn points by hand, and the verdict on a single suspect by one."""

from typing import Any

from kits import make_churn_kit
from torch import Tensor

from uapfp_dist.response_format import LABEL
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.verdict import SuspectResponses, SuspectVerdict
from uapfp_dist.verification.kit.kit import Kit

KITS = {size: make_churn_kit(size) for size in ("full", "light")}


def one(
    kit: Kit, probabilities: Tensor, point_set: int = 0, n_points: int | None = None, **more: Any
) -> SuspectVerdict:
    """The verdict on a single suspect."""
    suspect = SuspectResponses("s", probabilities, LABEL, point_set=point_set, n_churn_points=n_points)
    return judge(kit, [suspect], **more)[0]

"""IPGuard's matching rates: what its AUC rests on."""

import pandas as pd

from uapfp_dist.fingerprints.blocks import IPGUARD_K, IPGUARD_K_PROBE, BlockKey
from uapfp_dist.reporting.reference_schema import MatchingRates
from uapfp_dist.reporting.section_schema import SectionNumbers
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.response_format import LABEL

FEW = 0.2
"""Of the images that were tried: with fewer points a remark says so."""
METHODS = {IPGUARD_K: ("ipguard_tuned", "D_v"), IPGUARD_K_PROBE: ("ipguard_probe", "PROBE")}
"""Kind of block to the method that takes it, and whose images it is made of."""


def ipguard(data: ReportData) -> ReportSection | None:
    """Per k: points that reached their target label, and the share of them to which models give the victim's label."""
    blocks = sorted(
        (key for key in data.matrix.gather if key.kind in METHODS), key=lambda key: (key.kind, key.radius or 0.0)
    )
    rows = [matching_rates(data, key) for key in blocks]
    if not rows:
        return None
    table = pd.DataFrame([{**vars(row), **row.rate} for row in rows]).drop(columns="rate")
    few = [row for row in rows if row.points < FEW * row.tried]
    remarks = tuple(
        f"IPGuard at k {row.k:g} on {row.points_of} rests on {row.points} of {row.tried} points" for row in few
    )
    return ReportSection(
        "ipguard",
        "IPGuard: matching rates",
        "Points moved until the victim gives a random other label by a lead of k logits, with the original label as "
        "runner-up; images that never reach this are not sent. A rate is the share of the points to which a model "
        "gives the victim's label, mean over the models of a role. `chosen`: share of the resamples whose training "
        f"models take this k. {data.setting}.",
        {"ipguard": table},
        {},
        SectionNumbers(ipguard=tuple(rows)),
        remarks,
    )


def matching_rates(data: ReportData, key: BlockKey) -> MatchingRates:
    """Of one block."""
    method, points_of = METHODS[key.kind]
    labels, members = data.matrix.labels(key), data.matrix.members
    equal = (labels == labels[:1]).double().mean(1).tolist()
    roles = dict.fromkeys(str(member.role) for member in members[1:])
    of_role = {role: [x for x, member in zip(equal, members, strict=True) if member.role == role] for role in roles}
    picked = [
        found.candidate.block == key
        for d in data.resamples
        if method in d.methods and (found := d.chosen(method, LABEL)) is not None
    ]
    return MatchingRates(
        points_of=points_of,
        k=key.radius or 0.0,
        points=labels.shape[1],
        tried=data.plan.config.fingerprint.n_points,
        chosen=sum(picked) / len(picked) if picked else float("nan"),
        rate={role: sum(values) / len(values) for role, values in of_role.items()},
    )

"""Every number of the paper that a run of ours can be held against, with the place where it stands.

Peng et al., "Fingerprinting Deep Neural Networks Globally via Universal Adversarial Perturbations", CVPR 2022. What the
paper prints as 10^(-15) stands here as 1e-15, what it prints as 0.0 as 0.0. It names architectures of CIFAR-10 and
TinyImageNet by family; beside the victim's ResNet18 these are ResNet34, VGG16, GoogLeNet and DenseNet121 (Section 5.1).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from uapfp_dist.errors import unknown_name

FMNIST, CIFAR10, TINY = "fashion_mnist", "cifar10", "tiny_imagenet"
DATASETS = (FMNIST, CIFAR10, TINY)

_TABLE_2 = """
B sgd     0.9990 0.0012 0.0   1e-5   0.0009 1.0
B adam    0.9974 0.0048 0.0   0.0858 0.2613 0.9167
B rmsprop 0.9964 0.0060 0.0   0.0002 0.0015 1.0
C sgd     0.9322 0.1882 1e-15 0.0009 0.0149 1.0
C adam    0.9959 0.0050 0.0   0.0185 0.0842 1.0
C rmsprop 0.9734 0.0927 0.0   0.0074 0.0417 1.0
D sgd     0.9980 0.0027 0.0   0.1082 0.3010 0.8445
D adam    0.9972 0.0036 0.0   0.1024 0.2492 0.5663
D rmsprop 0.9977 0.0030 0.0   0.0295 0.0938 0.6942
E sgd     0.8821 0.203  1e-16 0.0377 0.1360 0.9923
E adam    0.9515 0.1392 0.0   0.0010 0.0036 1.0
E rmsprop 0.9491 0.1450 0.0   0.0002 0.0015 1.0
"""

_TABLE_3_CIFAR10 = """
resnet34    - 0.9945 0.0032 0.0 0.0476 0.0156 1.0
vgg16       - 0.9917 0.0050 0.0 0.1950 0.0920 0.99
googlenet   - 0.99   0.0066 0.0 0.2984 0.1682 0.69
densenet121 - 0.9924 0.0044 0.0 0.0552 0.1955 1.0
"""

_TABLE_3_TINY = """
resnet34    - 0.7463 0.0955 1e-14 0.2500 0.1462 0.5278
vgg16       - 0.7568 0.0937 1e-16 0.2602 0.1530 0.1574
googlenet   - 0.7280 0.1621 1e-9  0.2404 0.1440 0.8277
densenet121 - 0.8215 0.1002 1e-15 0.2943 0.1656 0.7088
"""

_TABLES = {FMNIST: _TABLE_2, CIFAR10: _TABLE_3_CIFAR10, TINY: _TABLE_3_TINY}
_NUMBERS = tuple(f"{role}_{what}" for role in ("piracy", "homologous") for what in ("mean", "std", "p"))


def table(dataset: str) -> pd.DataFrame | None:
    """Table 2 (fashion_mnist) or Table 3 (cifar10, tiny_imagenet), in the columns of our own; None for other data.

    Returns:
        One row per architecture and optimizer (None where the paper has one row for all): `architecture`, `optimizer`,
        `piracy_mean`, `piracy_std`, `piracy_p`, `homologous_mean`, `homologous_std`, `homologous_p`.
    """
    if dataset not in _TABLES:
        return None
    rows = [line.split() for line in _TABLES[dataset].strip().splitlines()]
    found = pd.DataFrame([[float(cell) for cell in row[2:]] for row in rows], columns=list(_NUMBERS))
    found.insert(0, "architecture", [row[0] for row in rows])
    found.insert(1, "optimizer", pd.Series([None if row[1] == "-" else row[1] for row in rows], dtype=object))
    return found


@dataclass(frozen=True)
class PaperNumber:
    """One number of the paper's text."""

    key: str
    where: str
    """Section, table or figure."""
    dataset: str
    """`fashion_mnist`, `cifar10`, `tiny_imagenet`; `all` where one number is given for the three of them."""
    quantity: str
    relation: Literal["=", ">", ">=", "<="]
    value: float

    def holds(self, ours: float | None) -> bool | None:
        """Whether our number keeps the bound; None for a number that is no bound, and for what was not measured."""
        if ours is None or ours != ours or self.relation == "=":
            return None
        if self.relation == ">":
            return ours > self.value
        return ours >= self.value if self.relation == ">=" else ours <= self.value


def _per_dataset(
    key: str, where: str, quantity: str, values: tuple[float, float, float], relation: Literal["=", ">"] = "="
) -> tuple[PaperNumber, ...]:
    return tuple(PaperNumber(key, where, d, quantity, relation, v) for d, v in zip(DATASETS, values, strict=True))


PAPER_NUMBERS: tuple[PaperNumber, ...] = (
    PaperNumber("confidence", "Abstract", "all", "confidence of a detection by at most 20 fingerprints", ">", 0.9999),
    PaperNumber("fig2b_ratio", "Fig. 2b", FMNIST, "mean Inconsist of homologous over that of piracy models", "=", 3.0),
    *_per_dataset("recovery", "Section 5.1", "piracy model's accuracy over the victim's", (0.85, 0.83, 0.40)),
    *_per_dataset("n_models", "Section 5.1", "models trained, the victim included", (241, 81, 81)),
    PaperNumber("fooling", "Section 5.1", "all", "fooling rate of the UAP on the victim", ">", 0.80),
    PaperNumber(
        "fig5_piracy_above_.8", "Fig. 5", CIFAR10, "share of piracy fingerprints with similarity > .8", "=", 1.0
    ),
    PaperNumber(
        "fig5_homologous_above_.4", "Fig. 5", CIFAR10, "share of homologous ones with similarity > .4", "<=", 0.20
    ),
    *_per_dataset("gap_largest", "Section 5.2", "largest gap between mean similarities", (0.99, 0.95, 0.58)),
    *_per_dataset("gap_smallest", "Section 5.2", "smallest gap between mean similarities", (0.77, 0.69, 0.43), ">"),
    PaperNumber("detected", "Section 5.2", "all", "share of piracy models detected at alpha .05 (t-test)", "=", 1.0),
    *_per_dataset("auc_uap", "Section 5.2", "AUC of UAP fingerprints", (1.0, 1.0, 0.98)),
    *_per_dataset("auc_ipguard", "Section 5.2", "AUC of IPGuard", (0.83, 0.75, 0.61)),
    PaperNumber("fig6_plateau", "Fig. 6 left", FMNIST, "points from which the gap grows no more", "=", 70),
    PaperNumber("fig6_stable_top_k", "Fig. 6 left", FMNIST, "top k from which the gap is stable", "=", 3),
    PaperNumber("fig6_gap_top_1", "Fig. 6 left", FMNIST, "similarity gap at top_k 1", ">", 0.0),
    PaperNumber("fig6_sum_of_top_3", "Section 5.3", FMNIST, "mean sum of the three largest confidences", "=", 0.9996),
    PaperNumber("fig6_similarity_at_.78", "Fig. 6 right", FMNIST, "mean similarity at a recovery of .78", "=", 0.88),
    PaperNumber(
        "fig8_least_similarity", "Fig. 8 left", FMNIST, "least similarity, fine-tuned, pruned or INT8", ">", 0.88
    ),
    PaperNumber(
        "fig8_similarity_120", "Fig. 8 right", FMNIST, "similarity after 120 adversarial iterations", "=", 0.99
    ),
    PaperNumber(
        "fig8_similarity_end", "Fig. 8 right", FMNIST, "similarity at the end of the drop that follows", "=", 0.89
    ),
    PaperNumber("fig8_utility_270", "Fig. 8 right", FMNIST, "utility lost after 270 adversarial iterations", "=", 0.17),
)
"""In the order of the paper. It does not say on which data Figure 6 was measured: taken for Fashion-MNIST, as Figures 7
and 8 are, and as its recovery rates, [.78, .94], suggest."""


def paper_number(key: str, dataset: str) -> PaperNumber:
    """The paper's claim `key` about a data set, or about all of them.

    Raises:
        UserError: no such claim, or none about this data set.
    """
    for found in PAPER_NUMBERS:
        if found.key == key and found.dataset in (dataset, "all"):
            return found
    raise unknown_name("claim of the paper", f"{key} on {dataset}", [f"{c.key} on {c.dataset}" for c in PAPER_NUMBERS])


def gaps(similarity: pd.DataFrame) -> tuple[float, float]:
    """(largest, smallest) gap of a table of similarities as the paper counts them (Section 5.2): over all pairs of a
    piracy mean and a homologous mean, whatever their architectures. NaN where a side is empty.

    Args:
        similarity: columns `piracy_mean`, `homologous_mean`.
    """
    piracy, homologous = similarity["piracy_mean"], similarity["homologous_mean"]
    return float(piracy.max() - homologous.min()), float(piracy.min() - homologous.max())


@dataclass(frozen=True)
class Measured:
    """A number of ours, and a 95 % interval over models where there is one."""

    value: float | None
    low: float | None = None
    high: float | None = None


def paper_comparison(ours: Mapping[str, Measured], dataset: str) -> pd.DataFrame:
    """The paper's claims about a data set with our numbers beside them.

    Args:
        ours: key of a claim to our number; claims without one are listed as not measured (NaN), numbers that the paper
            has for other data alone are left out.

    Returns:
        Columns `where`, `quantity`, `paper`, `ours`, `ours_low`, `ours_high`, `holds` (yes, no; empty where the paper
        gives no bound).

    Raises:
        UserError: a key that is no claim of the paper.
    """
    keys = {found.key for found in PAPER_NUMBERS}
    for key in ours:
        if key not in keys:
            raise unknown_name("claim of the paper", key, keys)
    rows = []
    for found in PAPER_NUMBERS:
        if found.dataset in (dataset, "all"):
            mine = ours.get(found.key, Measured(None))
            verdict = {True: "yes", False: "no", None: ""}[found.holds(mine.value)]
            sign = "" if found.relation == "=" else f"{found.relation} "
            numbers = [math.nan if number is None else number for number in (mine.value, mine.low, mine.high)]
            rows.append(
                {
                    "where": found.where,
                    "quantity": found.quantity,
                    "paper": f"{sign}{found.value:g}",
                    **dict(zip(("ours", "ours_low", "ours_high"), numbers, strict=True)),
                    "holds": verdict,
                }
            )
    return pd.DataFrame(rows)

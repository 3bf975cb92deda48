"""A publication by hand."""

from uapfp_dist.tracking.publication import NestedRun, Publication
from uapfp_dist.tracking.tracker import DESCRIPTION

PUBLICATION = Publication(
    "e" * 20,
    {"zoo": {"width": 4}, "grid": [0.1, 0.2], "seed": 0},
    {"preset": "digits", "victim": "v", DESCRIPTION: "**Yes.** ![f](artifact:figures/f.png)"},
    {"auc/uap": 0.1 + 0.2},
    [{"number": i, "accuracy": i / 7} for i in (1, 2, 3)],
    [NestedRun(f"piracy-{i}", {"model": str(i), "attack": "jacobian"}, {"similarity": 1 / (i + 3)}) for i in range(4)],
    {"report.json": b"{}", "empty.txt": b"", "tables/zoo.csv": b"a,b\n1,x\n2,y\n", "figures/f.png": bytes(range(256))},
)

"""The kit: all that judging a suspect needs and nothing that an attacker could train on; fixed before it is used.

On disk it is a folder of two files, without pickle. `kit.json` says what the kit is and covers and holds the SHA-256 of
`kit.safetensors`; its own canonical form is hashed into the digest, which an owner publishes before anybody is queried.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.sibling_test import SiblingTest
from uapfp_dist.response_format import LABEL, ResponseFormat
from uapfp_dist.verification.kit.churn_sets import ChurnSets
from uapfp_dist.verification.kit.info import KitInfo, MethodName
from uapfp_dist.verification.kit.input_check import InputCheck
from uapfp_dist.verification.kit.jpeg_files import JpegFiles

FEWEST_IMAGES = 10
"""Natural errors below which a query is no use: hardly a stolen model would stand out."""


@dataclass(frozen=True)
class Kit:
    """What is sent to a suspect, the victim's responses to it, and how models not derived from the victim scored.

    Q images, C classes, n points a view, V views, N natural errors, M models that calibrate or measure power.
    """

    digest: str
    """SHA-256 over everything in the kit: the commitment. Empty until it is saved."""
    images: Tensor
    """(Q, c, h, w) uint8: every image that may be sent, each once."""
    n_classes: int
    class_names: tuple[str, ...]
    victim_labels: Tensor
    """(Q,) int64: the victim's labels."""
    clean: Tensor
    """(K,) int64 indices of unperturbed images of the victim's own training set."""
    info: KitInfo
    victim: Tensor
    """(Q, C) float32: the victim's probabilities; of churn points its label alone, one-hot."""
    natural: Tensor
    """(N,) int64 indices of its natural errors and lowest margins, the most telling first."""
    log_odds_agree: Tensor
    """(N,) float64: log odds of piracy where a suspect agrees with the victim (protocol 3.3)."""
    log_odds_disagree: Tensor
    """(N,) float64: the same where it does not."""
    agrees: Tensor
    """(M, N) bool: which models agree there."""
    views: dict[ResponseFormat, Tensor] = field(default_factory=dict)
    """Format to (2, V, n) int64: the images of each view, clean and perturbed."""
    encoders: dict[ResponseFormat, dict[str, Tensor]] = field(default_factory=dict)
    """Format to the encoder's float32 `w1` (D, H), `b1` (H,), `w2` (H, E), `b2` (E,)."""
    similarity: dict[ResponseFormat, Tensor] = field(default_factory=dict)
    """Format to (M, V) float64: every model's similarity to the victim, view by view."""
    input_check: InputCheck | None = None
    """Images that a suspect is sent first; None in kits of version 1, which have none."""
    churn: ChurnSets | None = None
    """Images that decide; None in a kit whose victim has no siblings, and in those of versions 1 and 2."""

    exact: SiblingTest | None = None
    """The exact sibling test; None in a kit without one."""
    jpeg: JpegFiles | None = None
    """A file of each image, which is what a decoder reads from it; None in a kit of exact pixels."""

    @property
    def exact_claims(self) -> bool:
        """Whether the exact test makes the claim; it is always asked then."""
        return self.info.exact is not None and self.info.exact.claims

    @property
    def alpha(self) -> float:
        """Tolerated rate of false accusation that its groups are large enough for."""
        return self.info.alpha

    def n_corrected(self, n_looks: int = 1) -> int:
        """Suspects that p-values are corrected for when `n_looks` were looked at.

        With churn points looks come one after another: all that the kit was enrolled for count from the first on.
        """
        return n_looks if self.churn is None else max(n_looks, self.info.max_suspects or 1)

    @property
    def corrected_alpha(self) -> float:
        """Largest p at which the first suspect is accused, unless others are, too."""
        return self.alpha / self.n_corrected()

    @property
    def rates_level(self) -> float:
        """Largest p at which the rates that it states count a model as accused: uncorrected in earlier kits."""
        return self.alpha if self.info.rates_level is None else self.info.rates_level

    @property
    def states_uncorrected_rates(self) -> bool:
        """As earlier kits for several suspects do: verdicts accuse fewer."""
        return self.n_corrected() > 1 and self.info.rates_level is None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of an image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def scored_as(self, fmt: ResponseFormat) -> ResponseFormat:
        """The kit's format by which responses in `fmt` are judged: the same, or the next that gives away less."""
        if fmt in self.info.decided_by:
            return fmt
        most = self.n_classes if fmt.k is None else fmt.k
        tops = [f for f in self.info.decided_by if f.k and f.k <= most]
        return max(tops, key=lambda f: f.n_values) if tops else LABEL

    def decided_by(self, fmt: ResponseFormat, n_whole: int) -> MethodName:
        """The method that was fixed at enrolment; on fewer than half of its views `uap` decides nothing.

        Args:
            fmt: one of the kit's formats.
            n_whole: views that are sent, or answered, whole.
        """
        method = self.info.decided_by[fmt].method
        return "weighted_errors" if method == "uap" and 2 * n_whole < self.views[fmt].shape[1] else method

    def decided_because(self, fmt: ResponseFormat, n_whole: int) -> str:
        """Why that method decides, in words; arguments as of `decided_by`."""
        if self.churn is None and 2 * n_whole < self.views[fmt].shape[1]:
            return "fewer than half of the views are asked, or were answered, whole"
        return self.info.decided_by[fmt].why

    @property
    def methods(self) -> tuple[MethodName, ...]:
        """Methods whose scores it holds, the one that decides by design first."""
        beside: tuple[MethodName, ...] = ("uap", "weighted_errors") if self.views else ()
        return (self.info.decided_by[LABEL].method, *beside) if self.churn else beside

    def n_churn_points(self, max_queries: int | None, exact: bool = False) -> int:
        """Churn points that a suspect is sent, after the images that check its input and those of the exact test.

        Raises:
            UserError: not even the smallest number of them fits.
        """
        assert self.churn is not None
        assert self.input_check is not None
        n_first = len(self.input_check.first) + (len(self.exact_images) if exact else 0)
        least = n_first + int(self.churn.budgets[0])
        if max_queries is not None and max_queries < least:
            raise UserError(
                f"max_queries: expected at least {least} images, got {max_queries}; allow more", argument="max_queries"
            )
        return self.churn.n_sent(None if max_queries is None else max_queries - n_first)

    @property
    def exact_images(self) -> Tensor:
        """(U,) int64: what the exact test asks.

        Raises:
            UserError: the kit has none.
        """
        if self.exact is None:
            raise UserError(
                "exact: expected a kit with an exact sibling test, this one has none; enroll one with exact beside or "
                "claims",
                argument="exact",
            )
        return self.exact.images

    def required_images(
        self, fmt: ResponseFormat, max_queries: int | None, point_set: int = 0, exact: bool = False
    ) -> Tensor:
        """(W,) int64: the images to send to a suspect that responds in `fmt`, W at most `max_queries`.

        Those that check the input come first, then with `exact` all of the exact test, then images of the method that
        decides, then as much of the others as fits; None sends all. Where churn points do not decide and not even half
        of the views fit, weighted errors do.

        Raises:
            UserError: not even the smallest useful set fits.
        """
        fmt = self.scored_as(fmt)
        views: list[Tensor] = []
        if self.views:
            views = [torch.cat([clean, moved]).unique() for clean, moved in zip(*self.views[fmt], strict=True)]
        checked = self.input_check.first if self.input_check else torch.zeros(0, dtype=torch.int64)
        if self.churn is not None:
            decisive = self.churn.points[point_set, : self.n_churn_points(max_queries, exact)].tolist()
            decisive = [*(self.exact_images.tolist() if exact else []), *decisive]
            # An image of another set, sent now, could not be used for this operator later.
            sets = torch.arange(self.churn.n_sets) != point_set
            beside = self.natural[~torch.isin(self.natural, self.churn.points[sets])]
            parts = [*views, *beside.split(1)]
            return _as_fits([*checked.tolist(), *decisive], parts, max_queries)
        half = len(torch.cat([checked, *views[: (len(views) + 1) // 2]]).unique())
        method = self.decided_by(fmt, len(views) if max_queries is None or max_queries >= half else 0)
        smallest = min(FEWEST_IMAGES, len(self.natural)) + len(checked)
        if max_queries is not None and max_queries < smallest:
            raise UserError(
                f"max_queries: expected at least {smallest} images, got {max_queries}; allow more",
                argument="max_queries",
            )
        errors = self.natural.split(1)
        parts = [*views, *errors] if method == "uap" else [*errors, *views]
        return _as_fits(checked.tolist(), parts, max_queries)


def _as_fits(first: list[int], parts: Sequence[Tensor], most: int | None) -> Tensor:
    """`first` and then every part that fits whole into `most` images."""
    chosen = dict.fromkeys(first)
    for part in parts:
        grown = chosen | dict.fromkeys(part.tolist())
        if most is None or len(grown) <= most:
            chosen = grown
    return torch.tensor(list(chosen), dtype=torch.int64)

"""A fingerprint of a victim, by any method: fitted once, then a score for every suspect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from uapfp_dist.api.checks import (
    check_classes,
    check_range,
    checked_model,
    checked_models,
    spec_of,
    told_in_one_line,
)
from uapfp_dist.api.data import Data
from uapfp_dist.api.queries import POOLS, Answers, Queries, Settings, blocks_of_method
from uapfp_dist.config.validation import check_section
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.fingerprints.encoder import EncoderStack
from uapfp_dist.fingerprints.encoder_fit import fit_tasks
from uapfp_dist.fingerprints.methods.base import Candidate, EncoderKey, Method, Request
from uapfp_dist.fingerprints.methods.encoder_method import encoder_parts, similarities_to_victim
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.resamples import TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import folds_of, score_candidate
from uapfp_dist.models import Net
from uapfp_dist.response_format import LABEL, ResponseFormat
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.method_configs import ChurnConfig, EncoderConfig, FingerprintConfig, UapConfig

FEWEST = 2
"""Stolen and independent models that a fit needs at least; the paper takes five of each."""


class Fingerprint:
    """Scores suspects by how similar their responses are to the victim's; a higher score means more similar.

    uap, the default, is the paper's method (Sections 4.2, 4.3, Eq. 6 and 7): responses to points x and x + v through a
    contrastive encoder; scores are mean cosines in [0, 1]. The others

    - also learn from stolen and independent models: uap_paper (one UAP), uap_controls and uap_ensemble (which learn
      from models stolen from other victims, too), uap_weighted, clean, random, lap, weighted_errors, weighted_churn;
    - use the victim alone: ipguard, sac, natural_errors, agreement, confidence;
    - use points of PROBE, which no model trained on, so that lineage alone counts: uap_probe, clean_probe, ...;
    - use the victim and its siblings: churn, weighted_churn, churn_natural, churn_uap, churn_random.

    `METHODS` of `uapfp_dist.fingerprints.methods.registry` lists all, with a line on each.

    Args:
        method: its name.
        output: what suspects respond with: probabilities, top<k> such as top3, or label. Methods that need labels
            alone work with each.
        n_points: images in one view, at least 2 (the paper's n).
        n_views: views that an encoder learns from, at least 2 (the paper's k).
        n_test_views: the first so many of these are sent to suspects; all of them where `n_views` is less.
        n_natural: natural errors (images that the victim gets wrong) that a suspect is sent, by methods that use them.
        n_churn: churn points (images on which the victim disagrees with its siblings), likewise; None: the n_points of
            `churn`.
        uap, encoder, churn: further settings, in the ranges of an evaluation's; None: the defaults.
        seed: of every random choice.

    Raises:
        UserError: an unknown method or output, a number out of range.

    >>> import uapfp_dist as ufp
    >>> data = ufp.load("digits")
    >>> victim = ufp.train("A", data.victim_set, epochs=10)
    >>> errors = ufp.Fingerprint("natural_errors", output="label", n_points=10, n_views=2).fit(victim, data)
    >>> errors.queries, errors.score(victim)
    (100, 1.0)
    >>> ufp.Fingerprint("uap").score(victim)
    Traceback (most recent call last):
    uapfp_dist.errors.UserError: fingerprint: expected fit before score; call fit(victim, data, stolen=..., ...) first
    """

    def __init__(
        self,
        method: str = "uap",
        *,
        output: str = "probabilities",
        n_points: int = 100,
        n_views: int = 50,
        n_test_views: int = 20,
        n_natural: int = 100,
        n_churn: int | None = None,
        uap: UapConfig | None = None,
        encoder: EncoderConfig | None = None,
        churn: ChurnConfig | None = None,
        seed: int = 0,
    ) -> None:
        if method not in METHODS:
            raise unknown_name("method", method, METHODS, argument="method")
        churn = churn or ChurnConfig()
        n_churn = churn.n_points if n_churn is None else n_churn
        for name, value, least in (
            ("n_points", n_points, 2),
            ("n_views", n_views, 2),
            ("n_test_views", n_test_views, 1),
            ("n_natural", n_natural, 1),
            ("n_churn", n_churn, 1),
        ):
            check_range(name, value, least)
        self.method, self.output, self.seed = method, ResponseFormat.parse(output, argument="output"), seed
        self._encoder = encoder or EncoderConfig()
        self._settings = Settings(
            uap or UapConfig(),
            FingerprintConfig(
                n_points,
                n_views,
                min(n_test_views, n_views),
                n_natural=n_natural,
                max_natural=max(n_natural, FingerprintConfig().max_natural),
            ),
            replace(churn, n_points=n_churn),
            tuple(dict.fromkeys((self.output, LABEL))),
            seed,
        )
        check_section("uap", self._settings.uap)
        check_section("encoder", self._encoder)
        check_section("churn", self._settings.churn)
        self._fitted: _Fitted | None = None

    def __repr__(self) -> str:
        state = f"{self.queries} queries a suspect" if self._fitted else "not fitted"
        return f"Fingerprint({self.method}, {self.output}: {METHODS[self.method].description}; {state})"

    def fit(
        self,
        victim: Net,
        data: Data,
        *,
        stolen: Sequence[Net] = (),
        independent: Sequence[Net] = (),
        siblings: Sequence[Net] = (),
        stolen_from_others: Sequence[Net] = (),
        stolen_from_siblings: Sequence[Net] = (),
    ) -> Fingerprint:
        """Choose the images and learn to tell stolen models from others. None of these models may be judged later.

        Args:
            victim: the owner's model.
            data: its `victim_set` is what the victim was trained on; no model is trained on its `probe`.
            stolen: models extracted from the victim, at least 2 where the method learns (the paper takes 5).
            independent: models trained without the victim, likewise.
            siblings: at least 2 models trained as the victim was, from other seeds, for churn methods.
            stolen_from_others: models extracted from other victims: negatives, for methods that take them.
            stolen_from_siblings: models extracted from further siblings: negatives, for weighted_churn.

        Returns:
            itself.

        Raises:
            UserError: too few models, other classes, more points or views than images, a victim that gives NaN or
                never disagrees with its siblings.
        """
        groups = {
            "victim": [checked_model(victim, "victim")],
            "stolen": checked_models(stolen, "stolen"),
            "independent": checked_models(independent, "independent"),
            "stolen_from_others": checked_models(stolen_from_others, "stolen_from_others"),
            "stolen_from_siblings": checked_models(stolen_from_siblings, "stolen_from_siblings"),
            "siblings": checked_models(siblings, "siblings"),
        }
        if not isinstance(data, Data):
            raise UserError(f"data: expected what load gives, got {type(data).__name__}", argument="data")
        for name, models in groups.items():
            for model in models:
                check_classes(model, data.n_classes, name)
        self._check_numbers(groups)
        committee = groups.pop("siblings")
        with told_in_one_line():
            queries = Queries.make(METHODS[self.method], self._settings, victim, data, committee)
            answers = [queries.ask(model, "all") for models in groups.values() for model in models]
        members = [Member(ROLES[name], spec_of(model)) for name, models in groups.items() for model in models]
        training = _training({name: len(models) for name, models in groups.items()})
        matrix = queries.matrix(members, answers)
        request = Request(matrix, self._choose(matrix, training), [training], self._encoder, f"{queries.spec.id}/0")
        parts = encoder_parts(METHODS[self.method], request)
        stacks = fit_tasks((part.method.task(part.request) for part in parts.values()), self._encoder) if parts else []
        self._fitted = _Fitted(queries, tuple(members), tuple(answers), request, dict(zip(parts, stacks, strict=True)))
        return self

    def score(self, model: Net) -> float:
        """How similar a suspect's responses are to the victim's, over the images of the test views; deterministic.

        Args:
            model: a suspect, with the victim's classes in the same order.

        Returns:
            the higher the more similar. Of uap and other encoders a mean cosine in [0, 1]; of churn and agreement a
            share in [0, 1]; of natural_errors and ipguard the share with the victim's label if output is label, else
            the mean probability of that label; of confidence the mean largest probability, in which the victim has no
            part; of weighted methods log odds; of sac a negative distance.

        Raises:
            UserError: not fitted, other classes, a model that gives NaN.
        """
        if self._fitted is None:
            raise UserError("fingerprint: expected fit before score; call fit(victim, data, stolen=..., ...) first")
        model = checked_model(model, "model")
        fitted = self._fitted
        check_classes(model, fitted.n_classes, "model")
        with told_in_one_line():
            answers = fitted.queries.ask(model, "test")
        return fitted.score(METHODS[self.method], model, answers)

    @property
    def queries(self) -> int:
        """Images that a suspect is sent.

        Raises:
            UserError: not fitted.
        """
        if self._fitted is None:
            raise UserError("fingerprint: expected fit before queries; call fit first")
        request = self._fitted.request
        return request.matrix.n_query_images(*METHODS[self.method].query_blocks(request.candidate))

    def _check_numbers(self, groups: dict[str, list[Net]]) -> None:
        """Enough models for the method, before anything is computed."""
        method = METHODS[self.method]
        for name in ("stolen", "independent") if method.learned else ():
            if (n := len(groups[name])) < FEWEST:
                raise UserError(
                    f"{name}: expected at least {FEWEST} models, which {self.method} learns from, got {n}; give more",
                    argument=name,
                )
        if blocks_of_method(method, self._settings) & set(POOLS) and len(groups["siblings"]) < FEWEST:
            raise UserError(
                f"siblings: expected at least {FEWEST} models trained as the victim was, with which {self.method} "
                f"compares it, got {len(groups['siblings'])}; train some from other seeds",
                argument="siblings",
            )

    def _choose(self, matrix: ResponseMatrix, training: TrainingSet) -> Candidate:
        """All radii together and the richest format that suspects give; else what does best in cross-validation."""
        method, most = METHODS[self.method], self.output.n_values
        known = [one for one in method.candidates(matrix) if one.format.n_values <= most]
        if not known:
            raise UserError(
                f"output: expected probabilities or top<k> for {self.method}, got {self.output}; choose another method",
                argument="output",
            )
        size = max((len(one.blocks), one.format.n_values) for one in known)
        best = [one for one in known if (len(one.blocks), one.format.n_values) == size]
        if len(best) == 1 or min(len(training.piracy), len(training.homologous)) < FEWEST:
            return best[0]
        folds = folds_of(training)
        scored = [score_candidate(Request(matrix, one, folds, self._encoder), training, self.method) for one in best]
        return max(scored, key=lambda one: (one.training_auc, one.training_gap)).candidate


ROLES = {
    "victim": Role.VICTIM,
    "stolen": Role.PIRACY,
    "independent": Role.HOMOLOGOUS,
    "stolen_from_others": Role.OTHER_VICTIM_PIRACY,
    "stolen_from_siblings": Role.SIBLING_PIRACY,
}
"""Argument of `fit` to the role of its models, in the order of the rows."""


@dataclass(frozen=True)
class _Fitted:
    """All that a suspect is scored by."""

    queries: Queries
    members: tuple[Member, ...]
    answers: tuple[Answers, ...]
    request: Request
    """Of the training models."""
    encoders: dict[EncoderKey, EncoderStack]

    @property
    def n_classes(self) -> int:
        """Of the victim."""
        return self.queries.n_classes

    def score(self, method: Method, model: Net, answers: Answers) -> float:
        """Of one more row: methods without encoders learn from the training rows again, which takes no time."""
        suspect = Member(Role.HOMOLOGOUS, spec_of(model))  # no method looks at roles
        matrix = self.queries.matrix([*self.members, suspect], [*self.answers, answers])
        memo = {key: similarities_to_victim(stack, matrix, key[1]) for key, stack in self.encoders.items()}
        request = replace(self.request, matrix=matrix, memo=memo)
        return float(method.score(request)[0, -1].double().mean())


def _training(sizes: dict[str, int]) -> TrainingSet:
    """Rows of the groups, which follow each other; the victim is row 0."""
    rows: dict[str, tuple[int, ...]] = {}
    start = 0
    for name, n in sizes.items():
        rows[name] = tuple(range(start, start + n))
        start += n
    return TrainingSet(*(rows[name] for name in list(ROLES)[1:]))

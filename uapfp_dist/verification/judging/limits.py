"""What a verdict cannot say, in plain sentences. They are part of it: a replay must come to the same."""

from collections.abc import Sequence

from uapfp_dist.reporting.model_names import GROUPS
from uapfp_dist.verification.kit.info import Accused

USER_OF_THE_API = (
    "`piracy` means derived from the victim or its answers: whoever labelled images with the victim's API in "
    "all honesty is named too, and so is a version of the victim itself."
)


def not_calibrated(groups: Sequence[str]) -> str:
    """The limit of a kit, and of its verdicts, that these groups of negatives have no calibration model in it."""
    return f"Not calibrated against: {', '.join(GROUPS[group] for group in groups)}."


def verdict_limits(
    *,
    alpha: float,
    n_suspects: int,
    n_corrected: int,
    caught: Accused | None,
    missing: Sequence[str],
    too_few: Sequence[str],
    whole_views: tuple[int, int],
    fatal: bool,
    fatal_is_one: bool,
    of_kit: Sequence[str],
    by_churn: bool,
    registered: bool,
    exact_claims: bool,
    uncorrected: bool,
) -> tuple[str, ...]:
    """The limits of one verdict.

    Args:
        alpha: tolerated rate of false accusation.
        n_suspects: judged together.
        n_corrected: suspects that p-values are corrected for.
        caught: held-out stolen models, where the kit has any.
        missing: groups of negatives without any calibration model.
        too_few: groups of negatives with fewer calibration models than decide at `alpha`.
        whole_views: views answered whole, and of how many.
        fatal: a finding forbids the claim of piracy.
        fatal_is_one: if so it counts as p = 1 among the suspects corrected for.
        of_kit: limits of the kit itself.
        by_churn: churn points decide.
        exact_claims: the exact sibling test makes the claim.
        uncorrected: of the kit's own limits some name rates that are not corrected for several suspects.
        registered: by the kit's register all suspects are known that it was asked about.
    """
    several = by_churn and n_corrected > 1
    n_whole, n_views = whole_views
    limits = [USER_OF_THE_API] if by_churn else []
    limits += ["`inconclusive` does not mean independent.", _rate(alpha, exact_claims)]
    if caught is not None:
        how = f"each corrected for {n_corrected} suspects" if several else "one at a time"
        limits.append(
            f"Of {caught.of} held-out stolen models this kit catches {caught.n} with the images answered, {how}."
        )
    if several:
        limits.append(f"Corrected for {n_corrected} suspects (Holm): less is caught than of one alone.")
    elif n_suspects > 1:
        limits.append(f"Judged together with {n_suspects - 1} others (Holm): less is caught than alone.")
    limits.append(_other_verdicts(registered, n_corrected if several else 1))
    if missing and (line := not_calibrated(missing)) not in of_kit:
        limits.append(line)
    if too_few:
        names = ", ".join(GROUPS[group] for group in too_few)
        limits.append(f"Too few models to decide at alpha {alpha:g}: {names}.")
    if n_whole < n_views and not by_churn:
        limits.append(f"{n_whole} of {n_views} views were answered whole; below half, weighted errors decide.")
    if fatal:
        counted = "; among the suspects corrected for they count as p = 1" if fatal_is_one else ""
        limits.append(f"The answers are not sane: no claim of piracy can rest on them{counted}.")
    if uncorrected:
        limits.append("Rates that the kit itself names below are not corrected for several suspects.")
    return (*limits, *of_kit)


def _rate(alpha: float, exact_claims: bool) -> str:
    """Whom a false accusation can hit."""
    if exact_claims:
        return (
            f"A model that learned nothing from the victim is accused at most {100 * alpha:.3g} % of the time, "
            "whatever it is, if any sibling could have been the victim: the rate is over victims and their siblings."
        )
    return (
        f"An independent model is accused at most {100 * alpha:.3g} % of the time if it resembles the calibration "
        "models: other data, architectures or training than theirs are not covered."
    )


def _other_verdicts(registered: bool, n_corrected: int) -> str:
    """What no p-value is corrected for."""
    if registered:
        return (
            "All suspects that this kit was enrolled for are corrected for, whenever it is asked about them. Verdicts "
            "by another kit are not: of several, all must be told."
        )
    if n_corrected > 1:
        return (
            f"Beyond {n_corrected} suspects, verdicts of other runs are not corrected for, and none of another kit, "
            "--output, --max-queries, seed or alpha: of several, all must be told."
        )
    return (
        "Verdicts of other runs (another kit, --out, --output, --max-queries, seed or alpha) are not corrected "
        "for: of several, all must be told."
    )

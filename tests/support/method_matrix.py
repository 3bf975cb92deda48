"""A matrix of responses that are made up so that lineage is known: for the tests of methods."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from uapfp_dist.evaluation.plan import Plan
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
    BlockKey,
    twin_of,
)
from uapfp_dist.fingerprints.churn_weights import Candidates
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.encoder_method import EncoderMethod
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.fingerprints.probe import in_turn, one_view, per_point
from uapfp_dist.fingerprints.probe_data import Block, Responses
from uapfp_dist.fingerprints.resamples import Resample, TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import ScoredResample, score_resamples
from uapfp_dist.fingerprints.selection import unique_points
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.method_configs import EncoderConfig

N_POINTS, N_VIEWS, N_TEST, N_NATURAL, N_CLASSES = 10, 5, 3, 12, 4
N_CHURN, ALL_CHURN = 12, 20
"""Churn points that a suspect is sent, and that there are."""
ENCODER = EncoderConfig(hidden=32, embedding=32, learning_rate=1e-2, epochs=5)
ROLES = (
    Role.VICTIM,
    *[Role.PIRACY] * 4,
    *[Role.HOMOLOGOUS] * 4,
    *[Role.SOFT_PIRACY, Role.SAME_DATA],
    *[Role.OTHER_VICTIM_PIRACY] * 3,
    *[Role.SIBLING_PIRACY] * 3,
)
TRAINING = TrainingSet((1, 2), (5, 6), (11,), (14,))
FOLDS = [TRAINING, TrainingSet((1,), (6,), (11,))]
TESTED = (3, 4, 7, 8, 9, 10, 12, 13, 15, 16)
"""Rows that no fold trains on."""
FRACTIONS = (0.5, 0.75)
KS = (1.0, 5.0)
TOP2 = ResponseFormat(2)
FORMATS = (PROBABILITIES, TOP2, LABEL)
VIEWS = unique_points(
    torch.stack([torch.randperm(8, generator=torch_rng("views", i))[:N_VIEWS] + 3 * i for i in range(N_POINTS)], 1)
)[1]
"""Neighbouring clusters share some of their points."""
N_UNIQUE = int(VIEWS.max()) + 1
PROBE_VIEWS = unique_points(VIEWS.flip(1))[1]
"""Into other points, those of PROBE."""
CANDIDATES = dict.fromkeys((CHURN, CHURN_NATURAL, CHURN_UAP, CHURN_RANDOM), Candidates(torch.arange(ALL_CHURN), 1))
"""Churn points, each made of an image of its own."""
POOLS = (CHURN, CHURN_NATURAL, CHURN_UAP, CHURN_RANDOM)
ENCODERS = sorted(name for name, method in METHODS.items() if isinstance(method, EncoderMethod))


def blocks_of_the_probe() -> dict[BlockKey, Block]:
    """Two universal perturbations in turn (the paper's is one), a local one for each point, a view at the boundary."""
    image = torch.zeros(1, 1, 1, 1)
    local = image.expand(N_UNIQUE, 1, 1, 1)
    blocks = {
        PAPER: in_turn(image, VIEWS),
        DEEPFOOL: in_turn(image, VIEWS),
        LAP_MINIMAL: per_point(local, VIEWS),
        LAP_PAPER: per_point(local, VIEWS),
        RANDOM_PAPER: in_turn(image, VIEWS),
        IPGUARD: one_view(image.expand(N_POINTS, 1, 1, 1), VIEWS[0]),
    }
    for key in (PAPER, DEEPFOOL, RANDOM_PAPER):
        blocks[twin_of(key)] = in_turn(image, PROBE_VIEWS)
    for key in (LAP_MINIMAL, LAP_PAPER):
        blocks[twin_of(key)] = per_point(local, PROBE_VIEWS)
    for k in KS:
        blocks[BlockKey(IPGUARD_K, k)] = one_view(image.expand(N_POINTS, 1, 1, 1), VIEWS[0])
        blocks[BlockKey(IPGUARD_K_PROBE, k)] = one_view(image.expand(N_POINTS, 1, 1, 1), PROBE_VIEWS[0])
    for fraction in FRACTIONS:
        blocks[BlockKey(LAP_PROBE, fraction)] = per_point(local, PROBE_VIEWS)
        blocks[BlockKey(UAP, fraction)] = in_turn(image.expand(2, 1, 1, 1), VIEWS)
        blocks[BlockKey(RANDOM, fraction)] = in_turn(image.expand(2, 1, 1, 1), VIEWS)
        blocks[BlockKey(LAP, fraction)] = per_point(local, VIEWS)
        blocks[BlockKey(UAP_PROBE, fraction)] = in_turn(image.expand(2, 1, 1, 1), PROBE_VIEWS)
        blocks[BlockKey(RANDOM_PROBE, fraction)] = in_turn(image.expand(2, 1, 1, 1), PROBE_VIEWS)
    return blocks


BLOCKS = blocks_of_the_probe()


def made_up_responses(role: Role, row: int) -> Responses:
    """Probabilities: stolen models share most of the victim's logits, all share the data's."""
    sizes = {CLEAN: N_UNIQUE, CLEAN_PROBE: N_UNIQUE, NATURAL: 20, **dict.fromkeys(POOLS, ALL_CHURN)}
    sizes |= {key: len(block.point) for key, block in BLOCKS.items()}
    lineage = {Role.VICTIM: 1.0, Role.PIRACY: 0.8, Role.SOFT_PIRACY: 0.8}.get(role, 0.0)
    blocks = {}
    for key, size in sizes.items():
        data, victims, own = (
            torch.randn(size, N_CLASSES, generator=torch_rng(key, part)) for part in ("data", "victim", row)
        )
        blocks[key] = (data + 2 * lineage * victims + 2 * (1 - lineage) * own).softmax(1)
    return Responses(blocks)


def made_up_matrix(digits_plan: Plan) -> ResponseMatrix:
    """Seventeen models; the specs are the plan's, the responses made up."""
    by_role: dict[Role, list[Member]] = {}
    for member in digits_plan.judged:
        by_role.setdefault(member.role, []).append(member)
    members = tuple(by_role[role].pop(0) for role in ROLES)
    answers = tuple(made_up_responses(member.role, row) for row, member in enumerate(members))
    labels = answers[0].blocks[NATURAL].argmax(1)
    gather = {key: block.gather for key, block in BLOCKS.items()}
    plain = ResponseMatrix(members, answers, VIEWS, gather, N_TEST, labels, N_NATURAL, FRACTIONS, FORMATS)
    truth = torch.where(torch.arange(len(labels)) < 2 * N_NATURAL // 3, (labels + 1) % N_CLASSES, labels)
    both = replace(plain, probe_views=PROBE_VIEWS, natural_truth=truth)
    return both.with_churn([churn_of(one) for one in answers], CANDIDATES, N_CHURN)


def churn_of(answers: Responses) -> dict[BlockKey, Tensor]:
    """Labels on churn points: of those nothing else is known."""
    return {pool: answers.blocks[pool].argmax(1) for pool in POOLS}


def scores_of(matrix: ResponseMatrix, method: str) -> dict[Candidate, Tensor]:
    """Candidate to (S, M, V) scores under `FOLDS`."""
    scorer = METHODS[method]
    return {c: scorer.score(Request(matrix, c, FOLDS, ENCODER, "seed")) for c in scorer.candidates(matrix)}


def with_responses(matrix: ResponseMatrix, row: int, answers: Responses) -> ResponseMatrix:
    """The matrix with other responses in one row."""
    responses = (*matrix.responses[:row], answers, *matrix.responses[row + 1 :])
    churn = [churn_of(one) for one in responses]
    return replace(matrix, responses=responses).with_churn(churn, CANDIDATES, matrix.n_churn)


def of_points(matrix: ResponseMatrix, n: int) -> ResponseMatrix:
    """Fingerprints of the first clusters only."""
    gather = {name: index[:, :n] for name, index in matrix.gather.items()}
    return replace(matrix, views=matrix.views[:, :n], gather=gather, probe_views=PROBE_VIEWS[:, :n])


def lie(p: Tensor) -> Tensor:
    """Other labels, of which no two images' are confused alike, and another confidence."""
    turn = torch.arange(p.shape[1]) + 1 + torch.arange(len(p))[:, None] % (p.shape[1] - 1)
    return ((p**3) / (p**3).sum(1, keepdim=True)).gather(1, turn % p.shape[1])


def changed(answers: Responses, block: BlockKey, p: Tensor) -> Responses:
    """The same responses but for one block."""
    return Responses({**answers.blocks, block: p})


def score_one(matrix: ResponseMatrix, resample: Resample, methods: Sequence[str]) -> ScoredResample:
    """One resample alone."""
    return next(score_resamples(matrix, [resample], methods, ENCODER, "seed"))

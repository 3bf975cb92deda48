"""Responses to churn points, points of PROBE and references, beside those to the probe."""

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.execution.churn_artifacts import read_churn, read_labels
from uapfp_dist.execution.probe_artifacts import read_probe, read_responses
from uapfp_dist.fingerprints.churn_weights import Candidates
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.storage.store import Store, TornArtifactError
from uapfp_dist.tasks.specs import ProbeTwinSpec


def with_sibling_blocks(matrix: ResponseMatrix, plan: Plan, store: Store) -> ResponseMatrix:
    """`matrix` with what its models were queried with where the plan has siblings, and with references.

    Raises:
        UserError: an artifact is torn or gone.
    """
    try:
        if plan.churn:
            churn = [response for m in matrix.members if (response := plan.churn_response(m))]
            labels = [read_labels(store.get(*spec.artifact)) for spec in churn]
            config = plan.config.churn
            points = read_churn(store.get(*plan.churn.artifact))
            candidates = {key: Candidates(each.base, config.per_image) for key, each in points.items()}
            matrix = matrix.with_churn(labels, candidates, config.n_points)
        if plan.probe_twin:
            twin = read_probe(store.get(*plan.probe_twin.artifact))
            specs = [twin_response for m in matrix.members if (twin_response := plan.twin_response(m))]
            matrix = matrix.with_probe_twin(twin, [read_responses(store.get_mapped(*s.artifact)) for s in specs])
        for i, spec in enumerate(plan.references):
            probe = read_probe(store.get(*spec.artifact))
            answers = [plan.reference_responses(m)[i] for m in matrix.members]
            responses = [read_responses(store.get_mapped(*each.artifact)) for each in answers]
            matrix = matrix.with_references(probe, responses, isinstance(spec.probe, ProbeTwinSpec))
    except (TornArtifactError, FileNotFoundError) as error:
        raise UserError(f"expected every response whole, found one torn or gone ({error}); run again") from error
    return matrix

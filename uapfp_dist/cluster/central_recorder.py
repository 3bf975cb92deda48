"""The recorder of a grid as a central actor."""

from collections.abc import Callable, Sequence
from functools import partial

from uapfp_dist.central.grid_recorder import GridRecorder
from uapfp_dist.cluster.central_actor import CentralActor, typed
from uapfp_dist.evaluation.grid_cells import GridCell
from uapfp_dist.progress import Progress
from uapfp_dist.storage.store import shared_store
from uapfp_dist.tracking.tracker import Tracker


class CentralRecorder(CentralActor):
    """The methods of `GridRecorder`, run by an actor. The trials report to its `handle`; one that replaces it reads
    from the store what it has not received.

    Args:
        cells: the grid.
        storage: the store's URL.
        marker: that the driver wrote there.
        tracker: makes the tracker, inside the actor.
        progress: shows the trials that are done.
    """

    def __init__(
        self,
        cells: Sequence[GridCell],
        storage: str,
        marker: str,
        tracker: Callable[[], Tracker],
        progress: Progress,
    ) -> None:
        super().__init__("recorder", partial(make_recorder, cells, storage, marker, tracker), progress, "trials")

    finish = typed(GridRecorder.finish, CentralActor.call)


def make_recorder(cells: Sequence[GridCell], storage: str, marker: str, tracker: Callable[[], Tracker]) -> GridRecorder:
    """A recorder on the driver's storage.

    Raises:
        UserError: as `shared_store`.
    """
    return GridRecorder(cells, shared_store(storage, marker), tracker())

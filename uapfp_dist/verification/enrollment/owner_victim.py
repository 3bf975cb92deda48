"""The victim that its owner brings, as a spec in the plan."""

from dataclasses import dataclass, replace

from uapfp_dist.tasks.specs import Extracted, Gate, Imported, ModelSpec, Recipe


@dataclass(frozen=True)
class OwnerVictim:
    """A model that its owner brings."""

    architecture: str
    """A known name, or `package.module:factory`."""
    width: int
    """Of the nets of Table 1; others have their own."""
    origin: Imported
    victim_set: str | None = None
    """Digest of the images that it was trained on; None: half of D, as the seed cuts it."""
    n_images: int | None = None
    """How many those are."""

    def in_place_of(self, planned: ModelSpec) -> ModelSpec:
        """The owner's model as a spec, on the planned victim's data."""
        recipe = Recipe("its owner's", 0, 0)
        data = replace(planned.data, victim_set=self.victim_set)
        return ModelSpec(data, self.architecture, self.width, recipe, self.origin, planned.seed)


def with_victim(spec: ModelSpec, planned: ModelSpec, victim: ModelSpec) -> ModelSpec:
    """`spec` with `victim`, its architecture and its data in the place of the planned one's."""
    if spec == planned:
        return victim
    same = spec.architecture == planned.architecture
    architecture, width = (victim.architecture, victim.width) if same else (spec.architecture, spec.width)
    origin, gate = spec.origin, spec.gate
    if isinstance(origin, Extracted):
        origin = replace(origin, victim=with_victim(origin.victim, planned, victim))
    if isinstance(gate, Gate):
        gate = replace(gate, reference=with_victim(gate.reference, planned, victim))
    return replace(spec, data=victim.data, architecture=architecture, width=width, origin=origin, gate=gate)

"""Is a kit that of a certain enrolment?"""

import json
from pathlib import Path

from uapfp_dist.config.schema import Config, ZooConfig
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.serialization import Json
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import recorded_configuration, with_model_counts
from uapfp_dist.verification.kit.info import Configuration
from uapfp_dist.verification.kit.kit import Kit


def check_same_enrollment(
    kit: Kit, config: Config, requirements: EnrollConfig, seed: int, dataset: Dataset, out: Path
) -> None:
    """Accept a kit of the requested enrolment: one of other numbers or images would be counted under their name.

    Raises:
        UserError: it was made with others.
    """
    expected = _fields(recorded_configuration(with_model_counts(config, requirements), requirements)) | {"seed": seed}
    # A field that came later than the kit stood at its default then, or at what files leave out.
    left_out = EnrollConfig(n_committee=0, calibration_factor=1)
    found = _fields(recorded_configuration(Config(zoo=ZooConfig(cross_other_piracy=False)), left_out)) | _fields(
        kit.info.configuration or {}
    )
    found["seed"] = kit.info.seed
    if different := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        name, more = different[0], f" ({len(different) - 1} more differ)" if different[1:] else ""
        raise UserError(
            f"kit {out}: expected one enrolled with {name} {expected.get(name)}, it says {found.get(name)}{more}; name "
            "another folder, or give the options that it was made with",
            argument="out",
        )
    if (data := kit.info.data) is not None and data.digest != dataset.digest:
        raise UserError(
            f"kit {out}: expected one enrolled on the images at hand ({dataset.name}, digest {dataset.digest}), its "
            f"own have digest {data.digest}; name another folder, or the data root with the images that it was made on",
            argument="out",
        )


def _fields(sections: Configuration) -> dict[str, Json]:
    """`section.field` to its value, as it comes back from JSON."""
    plain = json.loads(json.dumps(sections))
    return {f"{section}.{name}": value for section, fields in plain.items() for name, value in fields.items()}

"""Response formats as options of a command line."""

import tyro

from uapfp_dist.response_format import ResponseFormat


def format_option(argument: str) -> tyro.constructors.PrimitiveConstructorSpec[ResponseFormat]:
    """A response format on the command line; its errors name `argument`."""
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="probabilities|top<k>|label",
        instance_from_str=lambda args: ResponseFormat.parse(args[0], argument=argument),
        is_instance=lambda value: isinstance(value, ResponseFormat),
        str_from_instance=lambda value: [str(value)],
    )

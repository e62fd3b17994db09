"""Where the channels of the first of several fused feature sets end, for heads with a branch for each."""

from collections.abc import Mapping
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.modeling.sequences import FeatureSource, split_feature_sets


def with_branches(head: str, options: Mapping[str, Any], source: FeatureSource, feature_sets: str) -> dict[str, Any]:
    """Return the head's options with `first_channels`, if it is one of them and still 0, taken from the first feature set's identity.

    Args:
        head: its name, for the message.
        options: all of its options.
        source: the feature store.
        feature_sets: as given, for example `iqa-resnet34:stages+resnet50:stages`.

    Raises:
        ArgumentError: the head has two branches and one feature set was given.
    """
    names = split_feature_sets(feature_sets)
    if options.get("first_channels") != 0:
        return dict(options)
    if len(names) < 2:
        raise ArgumentError(
            f"head '{head}' has a branch for each of two feature sets, got '{feature_sets}' alone; join two by +, the quality-aware one "
            "first, as in --features iqa-resnet34:stages+resnet50:stages."
        )
    return {**options, "first_channels": source.identity(names[0]).channels}

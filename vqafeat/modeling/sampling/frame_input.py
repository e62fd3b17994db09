"""Which frames a head takes in, and in what order, in training and in testing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.modeling.sampling.rules import Sampling, sampling_named
from vqafeat.registry import Registry

# Fang et al. (section IV-C) list SO as shuffled in training and OS as shuffled in testing; their discussion of the tables calls OS the
# second and SO the third mode of that list, which are swapped there. The list's reading is the one used, and a run records it.
ORDER_READING = "first letter: training and validation, second letter: testing; O: original, S: shuffled"


@dataclass(frozen=True)
class Order:
    """An input mode of Fang et al. (section IV-C).

    Attributes:
        shuffles_training: the frames of training and validation videos are shuffled.
        shuffles_testing: those of test videos are.
        described: in words.
    """

    shuffles_training: bool
    shuffles_testing: bool
    described: str


ORDERS: Registry[Order] = Registry("order")
ORDERS.add("OO", Order(False, False, "trained and tested on frames in their original order"))
ORDERS.add("OS", Order(False, True, "trained on frames in their original order, tested on shuffled ones"))
ORDERS.add("SO", Order(True, False, "trained on shuffled frames, tested on frames in their original order"))
ORDERS.add("SS", Order(True, True, "trained and tested on shuffled frames"))


@dataclass(frozen=True)
class FrameInput:
    """The frames that a head takes in: first they are sampled, then shuffled.

    Attributes:
        order: name in `ORDERS`, for example "SO".
        sampling: as `sampling_named` reads it, for example "sample-16".
        draws: a test score is the mean over this many draws of the test video's frames.

    Raises:
        UnknownNameError: there is no such order.
        ArgumentError: there is no such sampling, or `draws` asks for several draws where each would be the same.
    """

    order: str = "OO"
    sampling: str = "all"
    draws: int = 1

    def __post_init__(self) -> None:
        drawn = ORDERS.get(self.order).shuffles_testing or self.rule.random
        if self.draws < 1:
            raise ArgumentError(f"draws is {self.draws}; it has to be at least 1.")
        if self.draws > 1 and not drawn:
            raise ArgumentError(
                f"draws is {self.draws}, but nothing is drawn in testing with order '{self.order}' and sampling '{self.sampling}'; "
                "set draws to 1, or use order OS or SS, or sampling sample-K."
            )

    @cached_property
    def rule(self) -> Sampling:
        """The sampling."""
        return sampling_named(self.sampling)

    @property
    def words(self) -> str:
        """What is taken in, in words."""
        mean = f", mean of {self.draws} draws" if self.draws > 1 else ""
        return f"order {self.order} ({ORDERS.get(self.order).described}), sampling {self.sampling}{mean}"

    def tested_otherwise(self, changes: Mapping[str, Any]) -> "FrameInput":
        """Return the frames that heads that were trained on these are to be tested on, with some choices changed.

        Raises:
            ArgumentError: the order would be another one in training.
        """
        changed = replace(self, **changes)
        trained = ORDERS.get(self.order).shuffles_training
        if ORDERS.get(changed.order).shuffles_training != trained:
            able = " or ".join(name for name in ORDERS if ORDERS.get(name).shuffles_training == trained)
            raise ArgumentError(
                f"order is '{changed.order}', but the run was trained in order '{self.order}', of which only the second letter, testing, "
                f"can be changed: use {able}, or fit again with --order {changed.order}."
            )
        return changed

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them, with the reading of the order's letters."""
        return {**asdict(self), "order_reading": ORDER_READING}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FrameInput":
        """Return the frames that `as_dict` described.

        Raises:
            WeightsError: the values are others, or the letters were read in another way.
        """
        rest = dict(values)
        reading = rest.pop("order_reading", None)
        if reading != ORDER_READING or set(rest) != set(asdict(WHOLE_VIDEOS)):
            raise WeightsError(
                f"the frame input of the run is {dict(values)}; it needs order, sampling, draws and the order_reading '{ORDER_READING}'. "
                "Fit again."
            )
        return cls(**rest)


WHOLE_VIDEOS = FrameInput()

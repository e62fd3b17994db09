"""Order and sampling of frames, on the cache alone."""

from vqafeat.modeling.sampling.drawing import RowDraws, rows_in_testing
from vqafeat.modeling.sampling.frame_input import ORDERS, WHOLE_VIDEOS, FrameInput
from vqafeat.modeling.sampling.rules import SAMPLINGS, Sampling, VideoRows, sampling_named

__all__ = ["ORDERS", "SAMPLINGS", "WHOLE_VIDEOS", "FrameInput", "RowDraws", "Sampling", "VideoRows", "rows_in_testing", "sampling_named"]

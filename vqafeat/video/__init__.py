"""Decoding in separate processes, so that no video can stop the others; imports no torch."""

from vqafeat.video.chunks import Chunk, DecodeJob, Expected, Message, VideoEnd, VideoFailed, decode_here
from vqafeat.video.pool import DecodePool

__all__ = [
    "Chunk",
    "DecodeJob",
    "DecodePool",
    "Expected",
    "Message",
    "VideoEnd",
    "VideoFailed",
    "decode_here",
]

"""mdtvsfa-transformer: transformer with relative, mapped and aligned scores; the second model of Li et al.'s ensemble."""

from vqafeat.modeling.heads.aligned import AlignedHead
from vqafeat.modeling.heads.base import HEADS
from vqafeat.modeling.heads.transformer import TransformerHead


@HEADS.register("mdtvsfa-transformer")
class MDTVSFATransformer(AlignedHead):
    """The head `mdtvsfa` with a Transformer encoder in place of the GRU (Li et al., TCSVT 2022, table XV)."""

    def __init__(
        self,
        channels: int,
        reduced: int = 128,
        layers: int = 2,
        attention_heads: int = 2,
        feed_forward: int = 2048,
        dropout: float = 0.2,
        positions: str = "sinusoidal",
        pooling: str = "released",
        window: int = 12,
        beta: float = 0.5,
        datasets: str = "",
        scale_of: str = "",
        four_parameters: bool = False,
    ) -> None:
        inner = TransformerHead(channels, reduced, layers, attention_heads, feed_forward, dropout, positions, pooling, window, beta)
        super().__init__(inner, datasets, scale_of, four_parameters)

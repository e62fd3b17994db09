"""mdtvsfa: sub-gru with relative, mapped and aligned scores; the head of MDTVSFA and of Li et al."""

from vqafeat.modeling.heads.aligned import AlignedHead
from vqafeat.modeling.heads.base import HEADS
from vqafeat.modeling.heads.sub_gru import SubGRU


@HEADS.register("mdtvsfa")
class MDTVSFA(AlignedHead):
    """VSFA's head with a bounded score, a learnt logistic and one line a data set (MDTVSFA, IJCV 2021; Li et al., TCSVT 2022)."""

    def __init__(
        self,
        channels: int,
        reduced: int = 128,
        hidden: int = 32,
        pooling: str = "released",
        window: int = 12,
        beta: float = 0.5,
        datasets: str = "",
        scale_of: str = "",
        four_parameters: bool = False,
    ) -> None:
        super().__init__(SubGRU(channels, reduced, hidden, pooling, window, beta), datasets, scale_of, four_parameters)

"""Heads: from stored frame features to scores. A new one is a line here, or a plug-in that registers it."""

from typing import TYPE_CHECKING

from vqafeat.registry import Registry

if TYPE_CHECKING:
    from vqafeat.heads.base import Head

_RECURRENT, _MDTVSFA = "vqafeat.heads.recurrent", "vqafeat.heads.mdtvsfa"
_ENCODER = "with a Transformer encoder (Li et al., TCSVT 2022, table XV)"
_SVR = "mean features and RBF support vector regression (Li et al., table XIII)"
HEADS: "Registry[type[Head]]" = Registry(
    "head",
    {
        "no-time": (f"{_RECURRENT}:NoTime", "VSFA without a temporal model (Fontanel et al., table 1)"),
        "avg-gru": (f"{_RECURRENT}:AvgGRU", "VSFA's GRU and a plain mean (Fontanel et al., table 1)"),
        "sub-gru": (f"{_RECURRENT}:SubGRU", "VSFA: GRU and subjective pooling (ACM MM 2019)"),
        "sub-lstm": (f"{_RECURRENT}:SubLSTM", "VSFA with an LSTM (Fontanel et al., table 1)"),
        "transformer": ("vqafeat.heads.transformer:TransformerHead", f"VSFA {_ENCODER}"),
        "mdtvsfa": (f"{_MDTVSFA}:MDTVSFA", "three aligned scores on sub-gru (IJCV 2021; Li et al.)"),
        "mdtvsfa-transformer": (f"{_MDTVSFA}:MDTVSFATransformer", f"mdtvsfa {_ENCODER}"),
        "a2inet": ("vqafeat.heads.a2inet:A2INet", "guided interaction of two feature sets (ACM MM 2024)"),
        "svr": ("vqafeat.heads.svr:SVRHead", _SVR),
    },
)

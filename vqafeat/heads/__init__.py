"""Heads: from stored frame features to scores. A new one is a line here, or a plug-in that registers it."""

from typing import TYPE_CHECKING

from vqafeat.registry import Registry

if TYPE_CHECKING:
    from vqafeat.heads.base import Head

HEADS: "Registry[type[Head]]" = Registry(
    "head",
    {
        "no-time": (
            "vqafeat.heads.recurrent:NoTime",
            "VSFA without a temporal model (Fontanel et al., table 1)",
        ),
        "avg-gru": (
            "vqafeat.heads.recurrent:AvgGRU",
            "VSFA's GRU and a plain mean (Fontanel et al., table 1)",
        ),
        "sub-gru": ("vqafeat.heads.recurrent:SubGRU", "VSFA: GRU and subjective pooling (ACM MM 2019)"),
        "sub-lstm": ("vqafeat.heads.recurrent:SubLSTM", "VSFA with an LSTM (Fontanel et al., table 1)"),
        "transformer": (
            "vqafeat.heads.transformer:TransformerHead",
            "VSFA with a Transformer encoder (Li et al., TCSVT 2022, table XV)",
        ),
        "mdtvsfa": (
            "vqafeat.heads.mdtvsfa:MDTVSFA",
            "three aligned scores on sub-gru (IJCV 2021; Li et al.)",
        ),
        "mdtvsfa-transformer": (
            "vqafeat.heads.mdtvsfa:MDTVSFATransformer",
            "mdtvsfa with a Transformer encoder (Li et al., TCSVT 2022, table XV)",
        ),
        "a2inet": ("vqafeat.heads.a2inet:A2INet", "guided interaction of two feature sets (ACM MM 2024)"),
        "svr": (
            "vqafeat.heads.svr:SVRHead",
            "mean features and RBF support vector regression (Li et al., table XIII)",
        ),
    },
)

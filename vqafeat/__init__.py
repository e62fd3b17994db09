"""vqafeat: decode each video once, keep per-frame features of deep networks, study video quality models in
minutes.
"""

__version__ = "0.1.0"

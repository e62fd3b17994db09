"""Quality-aware pre-training of a backbone on pairs of labelled images."""

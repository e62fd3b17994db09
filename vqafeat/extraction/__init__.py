"""Stage 1: from video files to features in the store, each video decoded once."""

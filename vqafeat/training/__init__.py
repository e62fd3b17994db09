"""Stage 2: temporal heads, trained on cached per-frame features; it never opens a video."""

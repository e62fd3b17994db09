"""What is shown of runs: plots now; tables and pages build on them."""

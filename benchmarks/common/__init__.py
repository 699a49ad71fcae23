"""What the benchmarks share: figures, the peers, and how the figures are told."""

"""The benchmark suite behind ``benchmarks/run.py``: Millijoule and its peers in one run."""

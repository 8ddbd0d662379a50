"""Side-by-side measurements: `python benchmarks/NAME.py [--quick] [--json FILE]`."""

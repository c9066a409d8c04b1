"""Benchmarks: polyexec beside the standard library's pools and others', in ratios of one run."""

"""The benchmarks that `perf/run` offers."""

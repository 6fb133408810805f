"""Sweeps with perf_analyzer."""

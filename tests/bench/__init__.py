"""Benchmarks: what the operator costs and how quick it is, on a real control plane. `make bench` runs them.

Each benchmark is a module with `NAME` and `async run(options, say) -> report.Section`; `__main__` lists them.
"""

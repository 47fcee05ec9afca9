#!/usr/bin/env bash
# What weir_py_test runs: the system's Python, because Bazel's own rules for Python would need a download.
export PYTHONDONTWRITEBYTECODE=1
exec python3 tools/py_test_runner.py "$@"

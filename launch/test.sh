#!/usr/bin/env bash
# Passes the tests: makes the environment, checks the style and the layers, and runs pytest.
#   launch/test.sh [--dry-run] [arguments of pytest, such as tests/training -m 'not slow']
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
run "$python" -m ruff check .
run "$python" -m ruff format --check .
run "$(dirname "$python")/lint-imports" --no-logo
run "$python" -m pytest -n auto --dist loadfile --no-loadscope-reorder ${arguments[@]+"${arguments[@]}"}

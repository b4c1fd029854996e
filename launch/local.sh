#!/usr/bin/env bash
# The main job on this machine: makes the environment and the synthetic hands, trains, evaluates. Run it again to go on.
#   launch/local.sh [--dry-run] [FLAGS of ramjax.main, such as --workdir=runs/b --config.train.steps=100]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
run "$python" -m ramjax.main --config=experiments/multitask.py --workdir=runs/multitask ${arguments[@]+"${arguments[@]}"}

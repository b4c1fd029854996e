#!/usr/bin/env bash
# The main job on this machine: makes the environment and the synthetic hands, trains, evaluates. Run it again to continue.
#   launch/local.sh [--dry-run] [--machine=NAME] [--processes=N] [FLAGS of ramjax.main, such as --workdir=runs/b]
# It finds out whether there is an NVIDIA GPU or a TPU, installs the JAX for it, and trains a network fit for it;
# --machine=cpu, cuda12, cuda13 or tpu overrides what it finds, --config the network.
# With --processes=N, N processes of one device each train together, as they would on N hosts. Exit codes: --help.
set -euo pipefail
detect=true
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

processes='' config=(--config=experiments/multitask.py) workdir=(--workdir=runs/multitask) flags=()
if [ "$machine" != cpu ]; then
  config=(--config=experiments/multitask.py:accelerator+quick) workdir=(--workdir=runs/accelerator)
fi
for argument in ${arguments[@]+"${arguments[@]}"}; do
  case $argument in
    --processes=*) processes=${argument#*=} ;;
    --config | --config=*) config=() && flags+=("$argument") ;;
    --workdir | --workdir=*) workdir=() && flags+=("$argument") ;;
    *) flags+=("$argument") ;;
  esac
done
flags=(${config[@]+"${config[@]}"} ${workdir[@]+"${workdir[@]}"} ${flags[@]+"${flags[@]}"})

# exec: signals reach the training itself.
if [ -z "$processes" ]; then
  run exec "$python" -m ramjax.main "${flags[@]}"
elif "$dry_run"; then # needs nothing but Python, so that it works before the environment is there
  "$base" launch/processes.py --dry-run --python="$python" --processes="$processes" "${flags[@]}"
else
  run exec "$python" launch/processes.py --processes="$processes" "${flags[@]}"
fi

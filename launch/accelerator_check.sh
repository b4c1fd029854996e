#!/usr/bin/env bash
# Checks and measures this code on the GPU or TPU of this machine, in fifteen minutes at most once the environment is there:
# tests marked accelerator, FLOP utilisation, a step beside PyTorch, a training until it is good. One JSON, one table.
#   launch/accelerator_check.sh [--dry-run] [--machine=NAME] [--python=PYTHON] [FLAGS of benchmarks.accelerator_check]
# --python=PYTHON takes that interpreter as it is and installs nothing, for a machine without a network.
# --small goes through all stages with the debug experiment, on a CPU too. Exit code 1: a stage failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

given='' words=()
for argument in "$@"; do
  case $argument in
    --python=*) given=${argument#*=} ;;
    *) words+=("$argument") ;;
  esac
done
set -- ${words[@]+"${words[@]}"}

if [ -z "$given" ]; then
  # shellcheck disable=SC2034  # read by what is sourced
  detect=true
  # shellcheck source=/dev/null
  source launch/environment.sh
else
  dry_run=false python=$given arguments=()
  for argument in "$@"; do
    case $argument in
      --dry-run) dry_run=true ;;
      *) arguments+=("$argument") ;;
    esac
  done
fi

command=("$python" -m benchmarks.accelerator_check ${arguments[@]+"${arguments[@]}"})
if "$dry_run"; then # the stages too, where the environment is there to tell them
  printf '+ %s\n' "${command[*]}"
  [ ! -x "$(command -v "$python")" ] || "${command[@]}" --dry_run
else
  printf '+ %s\n' "${command[*]}"
  exec "${command[@]}"
fi

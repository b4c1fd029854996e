#!/usr/bin/env bash
# A run on all workers of a Cloud TPU VM: copies the committed tree, installs, trains; again when told to stop.
#   launch/tpu_vm.sh --name=TPU --zone=ZONE [--project=P] [--python=python3.11] [--dry-run] \
#     --config=experiments/multitask.py:accelerator --workdir=/mnt/shared/runs/big [FLAGS of ramjax.main]
# --workdir is a folder that all workers share: NFS such as Filestore.
# Ctrl-C stops the training on the workers, which save first; the same command continues.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dry_run=false name='' zone='' project=() base=python3.11 flags=() workdir=''
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=true ;;
    --name=*) name=${argument#*=} ;;
    --zone=*) zone=${argument#*=} ;;
    --project=*) project=("$argument") ;;
    --python=*) base=${argument#*=} ;;
    --workdir=*) workdir=${argument#*=} && flags+=("$argument") ;;
    *) flags+=("$argument") ;;
  esac
done

fail() {
  echo "tpu_vm.sh: $1" >&2
  exit 2
}
[ -n "$name" ] || fail "--name=TPU is missing; gcloud compute tpus tpu-vm list --zone=ZONE shows what there is."
[ -n "$zone" ] || fail "--zone=ZONE of the TPU is missing, such as --zone=europe-west4-b."
case $workdir in
  '') fail "--workdir=FOLDER is missing; name one that all workers share, such as /mnt/shared/runs/big." ;;
  gs://*) fail "--workdir=$workdir is a bucket; name a folder that all workers share, on NFS such as Filestore." ;;
  /*) ;;
  *) fail "--workdir=$workdir is each worker's own; name a shared folder, such as /mnt/shared/$workdir." ;;
esac

# Prints a command, and runs it unless --dry-run was given.
run() {
  printf '+ %s\n' "$*"
  "$dry_run" || "$@"
}
on_all() {
  run gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" ${project[@]+"${project[@]}"} --worker=all --command="$1"
}

if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
  echo "Warning: only what is committed is copied; git status shows what is not." >&2
fi
archive=$(mktemp -d)/ramjax.tar.gz
trap 'rm -rf "$(dirname "$archive")"' EXIT
run git archive --format=tar.gz --output="$archive" HEAD
run gcloud compute tpus tpu-vm scp "$archive" "$name:ramjax.tar.gz" --zone="$zone" ${project[@]+"${project[@]}"} --worker=all
on_all "set -eu; mkdir -p ramjax; tar -xzf ramjax.tar.gz -C ramjax; cd ramjax; \
$base -c 'import ensurepip' || { sudo apt-get -q update; sudo apt-get -qy install $base $base-venv; }; \
PYTHON=$base; source launch/environment.sh; .venv/bin/python -m pip install --quiet 'jax[tpu]'"

stopped=false
trap 'stopped=true' INT TERM
while :; do
  # In the background, for the shell hears no signal while a command runs.
  on_all "cd ramjax; exec .venv/bin/python -m ramjax.main --distributed $(printf '%q ' "${flags[@]}")" &
  training=$! code=0 # of the first worker that did not end with 0; the workers stop together
  while kill -0 "$training" 2>/dev/null; do
    if "$stopped"; then # to the oldest process alone: its data workers end with it; again if it had not begun
      on_all "pkill -TERM -o -f '[r]amjax.main'; while pgrep -f '[r]amjax.main' >/dev/null; do sleep 1; done" || true
    fi
    sleep 1 &
    wait $! || true
  done
  wait "$training" || code=$?
  if "$stopped" || [ "$code" != 75 ]; then exit "$code"; fi
  echo "Told to stop, everything is saved: starting again."
done

# Sourced by the launchers: makes .venv once, or again when requirements.txt, pyproject.toml, the Python or the GPU's
# build of JAX changed; ramjax itself is installed in editable form; sets `python`.
# PYTHON names the interpreter to make it with (3.11 or newer). Among the arguments, --dry-run only prints, and
# --machine=cpu, cuda12, cuda13 or tpu names the build of JAX. Without it, launchers that set detect=true find out what
# this machine has, and set `machine`; the others install JAX for the CPU.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

dry_run=false machine=''
arguments=()
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=true ;;
    --machine=*) machine=${argument#*=} ;;
    *) arguments+=("$argument") ;;
  esac
done

# Prints a command, and runs it unless --dry-run was given.
run() {
  printf '+ %s\n' "$*"
  "$dry_run" || "$@"
}

base=${PYTHON:-python3}
python=.venv/bin/python
if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "ramjax needs Python 3.11 or newer; $base is missing or older. Name one: PYTHON=python3.12 $0" >&2
  exit 1
fi

if [ -n "$machine" ] || "${detect:-false}"; then
  found=$("$base" launch/machine.py "${machine:-auto}") || exit
  machine=${found%%$'\n'*}
  echo "Machine: ${found#*$'\n'}; JAX is installed for: $machine (--machine=NAME overrides it)."
else
  machine=cpu
fi

pip=("$python" -m pip install --quiet --disable-pip-version-check)
stamp=$("$base" --version; cat requirements.txt pyproject.toml)
accelerator=$(cat .venv/accelerator 2>/dev/null) || true
clash=false # two builds of JAX for CUDA exclude each other
case $accelerator,$machine in cuda12,cuda13 | cuda13,cuda12) clash=true ;; esac
if [ "$(cat .venv/installed 2>/dev/null)" != "$stamp" ] || "$clash"; then
  run "$base" -m venv --clear .venv
  run "${pip[@]}" -r requirements.txt --editable .
  "$dry_run" || printf '%s\n' "$stamp" >.venv/installed
  accelerator=''
fi
if [ "$machine" != cpu ]; then
  if [ "$accelerator" != "$machine" ]; then
    run "${pip[@]}" -r requirements.txt "jax[$machine]"
    "$dry_run" || printf '%s\n' "$machine" >.venv/accelerator
  fi
  # Nothing trains on the CPU unasked. A machine without the GPU may still make the environment: --help is no training.
  [[ " ${arguments[*]-} " == *" --help "* ]] || run "$python" launch/machine.py --check "$machine"
fi

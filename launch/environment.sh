# Sourced by the launchers: makes .venv once, or again when requirements.txt, pyproject.toml or the Python
# changed; ramjax itself is installed in editable form; sets `python`.
# PYTHON names the interpreter to make it with (3.11 or newer); --dry-run among the arguments only prints.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

dry_run=false
arguments=()
for argument in "$@"; do
  if [ "$argument" = --dry-run ]; then dry_run=true; else arguments+=("$argument"); fi
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
stamp=$("$base" --version; cat requirements.txt pyproject.toml)
if [ "$(cat .venv/installed 2>/dev/null)" != "$stamp" ]; then
  run "$base" -m venv --clear .venv
  run "$python" -m pip install --quiet --disable-pip-version-check -r requirements.txt --editable .
  "$dry_run" || printf '%s\n' "$stamp" >.venv/installed
fi

"""Many runs of ramjax.main that differ in some keys of the config: python launch/sweep.py --help. See ramjax/sweep."""

import importlib.util
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"

if importlib.util.find_spec("jax") is None:  # started with a Python that is not the environment's
    if not (VENV / "bin" / "python").exists() or pathlib.Path(sys.prefix) == VENV:
        sys.exit("The environment is not there yet; bash launch/local.sh --help makes it.")
    os.execv(VENV / "bin" / "python", [str(VENV / "bin" / "python"), __file__, *sys.argv[1:]])

os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

from ramjax.sweep.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""Many runs of ramjax.main that differ in some keys of the config: python launch/sweep.py --help. See ramjax/sweep."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))

from ramjax.sweep.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv))

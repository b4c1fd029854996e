"""README and docs: every command and every piece of code runs, links lead somewhere, and nothing is out of bounds."""

import pkgutil
import re
import shlex

import pytest

from ramjax import config as config_lib
from ramjax.experiment import load_experiment, parse_experiment
from tests.docs import workspace
from tests.docs.conftest import GIVEN
from tests.docs.pages import PAGES, ROOT, Block, read

NOT_RUN = 0
"""How many blocks are marked as not run; raise it only for what no test can run."""

IDS = [page.name for page in PAGES]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_all_that_a_page_says_runs(page, here):
    names = {"__name__": "__main__"}
    for block in read(page.read_text(), page.name):
        if block.not_run is None and block.text.strip() not in GIVEN:
            workspace.run(here, block, names)


def test_blocks_that_are_not_run_are_few_and_say_why():
    marked = [block for page in PAGES for block in read(page.read_text(), page.name) if block.not_run is not None]
    assert all(block.not_run for block in marked), [str(block) for block in marked]
    assert len(marked) == NOT_RUN, [str(block) for block in marked]


def test_blocks_are_found():
    text = (
        "# A\n\n`python -m ramjax.main --help`, `python -m ramjax.main` and `ramjax`\n\n"
        "| a |\n|---|\n| `bash launch/local.sh` |\n\n"
        "```bash\nls \\\n  x\n```\n\n<!-- not run: needs a cluster -->\n```bash\nsbatch\n```\n\n"
        "<!-- not run: -->\n```python\nx = 1\n```\n\n```python\n# my_lab/a.py\ny\n```\n\n```json\n{}\n```\n"
    )
    assert read(text, "a.md") == [
        Block("a.md", 3, "bash", "python -m ramjax.main --help"),
        Block("a.md", 7, "bash", "bash launch/local.sh"),
        Block("a.md", 9, "bash", "ls \\\n  x\n"),
        Block("a.md", 15, "bash", "sbatch\n", "needs a cluster"),
        Block("a.md", 20, "python", "x = 1\n", ""),
        Block("a.md", 24, "python", "# my_lab/a.py\ny\n"),
    ]
    assert [block.file for block in read(text, "a.md")] == [None] * 5 + ["my_lab/a.py"]


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("bash launch/local.sh    # trains", "bash launch/local.sh --dry-run    # trains"),
        ("sbatch --nodes=2 \\\n  --gpus-per-node=8 launch/slurm.sbatch --config=a",
         "bash launch/slurm.sbatch --dry-run --config=a"),
        ("python -m ramjax.main --config=experiments/multitask.py:h1200",
         f"python -m ramjax.main --config=experiments/debug.py:h1200 {workspace.SHORT}"),
        ('{"train.steps": 20, "seed": 1}', '{"train.steps": 8, "seed": 1}'),
        ("--config.train.steps=2000", "--config.train.steps=4"),
        ("python -m benchmarks.step --json", "python -m benchmarks.step --help"),
        ('open_dataset("ram_phantom/small")', 'open_dataset("ram_phantom/tiny")'),
        ("python -m ramjax.report --workdir=runs/multitask", "python -m ramjax.report --workdir=runs/multitask"),
    ],
)  # fmt: skip
def test_substitutions(text, run):
    assert workspace.substitute(text) == run


def test_every_experiment_becomes_small():
    flags = shlex.split(workspace.substitute("--config=experiments/bones.py --workdir=a"))
    assert flags[0] == "--config=experiments/bones.py" and flags[-1] == "--workdir=a"
    config = parse_experiment(str(ROOT / "experiments/bones.py"), flags[1:-1])
    small = load_experiment(str(ROOT / "experiments/debug.py"), {"tasks": ("bones",)})
    assert config_lib.trained(config_lib.to_dict(config)) == config_lib.trained(config_lib.to_dict(small))


def test_what_the_pages_take_for_granted_is_what_the_readme_says():
    assert {*GIVEN} <= {block.text for block in read(PAGES[0].read_text(), "README.md")}


def test_the_readme_is_read_in_five_minutes():
    assert len(PAGES[0].read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_prose_wraps(page):
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > 105 and not line.startswith("|")]
    assert not long


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        there = page.parent / path if path else page
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
            }


def test_the_readme_names_every_folder_and_page():
    text = PAGES[0].read_text()
    folders = [path.parent.name for path in (ROOT / "ramjax").glob("*/__init__.py")]
    assert not [name for name in folders if f"ramjax/{name}/" not in text]
    assert not [page.name for page in PAGES[1:] if f"docs/{page.name}" not in text]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_paths_exist(page):
    """Files and folders of the repository that the text names; those of a run or of `my_lab` come from its commands."""
    named = re.findall(
        r"`((?:ramjax|experiments|tests|launch|benchmarks|tfds_builders|docs)/[\w./]*)`", page.read_text()
    )
    assert not [path for path in named if not (ROOT / path).exists()]
    modules = re.findall(r"`(ramjax(?:\.[a-z_]+)+)`", page.read_text())
    assert not [name for name in modules if not _is_known(name)]


def _is_known(name: str) -> bool:
    """Whether a dotted name is a module or something in one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True

"""`python -m ramjax.prepare` in processes of its own: the table, interruptions, downloads and mistakes."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from ramjax.io import release_tree
from tests.builders import hub, trees
from tests.commands import assert_one_sentence

ROOT = pathlib.Path(__file__).parent.parent


NO_NETWORK = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_XET": "1"}


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "ramjax.prepare", *flags]


def call(*flags: str, **environment: str) -> subprocess.CompletedProcess:
    variables = {**os.environ, **NO_NETWORK, **environment}
    return subprocess.run(command(*flags), capture_output=True, text=True, cwd=ROOT, timeout=300, env=variables)


def hands(detections: bool = False):
    return trees.split(release_tree.as_h1200(trees.hands(), detections=detections))


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("release") / "RAM-H1200-v1"
    release_tree.write_h1200(hands(), folder, quirks=True)
    return folder


def test_it_ends_with_a_table_of_what_it_found(tree, tmp_path):
    flags = ("--dataset=ram_h1200", f"--source={tree}", f"--data_dir={tmp_path}")
    done = call(*flags)
    assert done.returncode == 0, done.stderr
    assert "Preparing ram_h1200 train: 100%" in done.stderr
    count = len(hands()["train"])
    assert any(line.split()[:3] == ["images", str(count), "[793]"] for line in done.stdout.splitlines())
    assert f"train: {count} records images, published are 793." in done.stdout
    assert "Warning: " in done.stderr and "kinds of defects" in done.stderr
    assert "_annotations_bone_rle.coco.json (train" in done.stdout and "Pisifrom_Triquetrum" in done.stdout
    assert "metadata rows without an image" in done.stdout and "not a medical device" in done.stdout
    report = tmp_path / "ram_h1200" / "1.0.0" / "metadata.json"
    assert (
        str(report) in done.stdout and json.loads(report.read_text())["splits"]["train"]["records"]["images"] == count
    )
    again = call(*flags)
    assert again.returncode == 0 and "It was prepared before" in again.stdout and "[793]" in again.stdout


def test_killed_and_started_again_it_gives_the_same(tree, tmp_path):
    flags = ["--dataset=ram_h1200", f"--source={tree}"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call(*flags, f"--data_dir={whole}").returncode == 0
    process = subprocess.Popen(
        command(*flags, f"--data_dir={killed}"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    shown = b""
    while b"Preparing ram_h1200 train" not in shown:
        shown += process.stderr.read(1)
    process.kill()
    process.communicate()
    assert list((killed / "ram_h1200").glob("incomplete.*")) and not (killed / "ram_h1200" / "1.0.0").exists()
    assert call(*flags, f"--data_dir={killed}").returncode == 0
    assert not list((killed / "ram_h1200").glob("incomplete.*"))
    for split in ("train", "validation", "test"):
        one, other = (trees.read("ram_h1200", folder, split) for folder in (whole, killed))
        assert list(one) == list(other) and len(one) == len(hands()[split])
        for key in one:
            trees.assert_same(one[key], other[key])


@pytest.fixture
def heard_interrupts():
    """What a test starts hears Ctrl-C, which it would not within a command that a shell runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_nothing_half_written(tree, tmp_path, heard_interrupts):
    process = subprocess.Popen(
        command("--dataset=ram_h1200", f"--source={tree}", f"--data_dir={tmp_path}"),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    )  # fmt: skip
    shown = b""
    while b"Preparing ram_h1200 train" not in shown:
        shown += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Start the same command again" in rest and b"Traceback" not in rest
    assert not list((tmp_path / "ram_h1200").glob("*array_record*")) and not (tmp_path / "ram_h1200" / "1.0.0").exists()


@pytest.mark.parametrize("detections", [False, True], ids=["crops", "detections"])
def test_it_downloads_what_it_needs_pinned_and_goes_on_where_it_stopped(tmp_path, detections):
    release = tmp_path / "hub"
    expected = hands(detections)
    release_tree.write_h1200(expected, release, detections=detections, quirks=True)
    flags = ("--dataset=ram_h1200", f"--data_dir={tmp_path / 'data'}")
    with hub.serve(release) as (served, address):
        served.breaks_after = 9
        done = call(*flags, HF_ENDPOINT=address)
        assert_one_sentence(
            done, 1, "could not be downloaded", "hf download TokyoTechMagicYang/RAM-H1200-v1", "--source"
        )
        first = list(served.fetched)
        assert len(first) == 9
        served.breaks_after = len(served.files) + 1
        served.revision = 40 * "f"  # a newer one, which would not be the release whose download began
        done = call(*flags, HF_ENDPOINT=address)
        assert done.returncode == 0, done.stderr
        assert len(served.fetched) == len(set(served.fetched)), "nothing is fetched twice"
    crops = {name for name in served.files if name.startswith("SvdH_Scoring") and name.endswith(".bmp")}
    assert set(served.fetched) == set(served.files) - (crops if detections else set())
    report = json.loads((tmp_path / "data/ram_h1200/1.0.0/metadata.json").read_text())
    assert report["release"] == {"revision": hub.REVISION}
    for split, records in expected.items():
        found = trees.read("ram_h1200", tmp_path / "data", split)
        for record in records:
            trees.assert_same(found[record.id], record)


def test_w600_downloads_one_crop_a_case(tmp_path):
    release = tmp_path / "hub"
    release_tree.write_w600(trees.split(trees.wrists()), release)
    with hub.serve(release) as (served, address):
        done = call("--dataset=ram_w600/scores", f"--data_dir={tmp_path / 'data'}", HF_ENDPOINT=address)
    assert done.returncode == 0, done.stderr
    crops = [name for name in served.fetched if name.startswith("SvdHBE") and name.endswith(".bmp")]
    assert len(crops) == len(trees.wrists()) and {pathlib.Path(name).name for name in crops} == {"Lunate.bmp"}


def test_w600_downloads_all_crops_where_no_file_has_the_boxes(tmp_path):
    release = tmp_path / "hub"
    wrists = trees.split(trees.wrists())
    release_tree.write_w600(wrists, release)
    (release / "JointLocationDetection" / "Joints.coco.json").unlink()
    with hub.serve(release) as (served, address):
        done = call("--dataset=ram_w600/scores", f"--data_dir={tmp_path / 'data'}", HF_ENDPOINT=address)
    assert done.returncode == 0, done.stderr
    assert set(served.fetched) == set(served.files)
    found = trees.read("ram_w600/scores", tmp_path / "data", "train")
    for record in wrists["train"]:
        assert {j.site: j.be for j in found[record.id].joints} == {j.site: j.be for j in record.joints}


def test_without_a_network_one_sentence_says_what_to_fetch_and_where_to_put_it(tmp_path):
    done = call("--dataset=ram_w600", f"--data_dir={tmp_path}")
    assert_one_sentence(
        done, 1, "RAM-W600 could not be downloaded", "hf download TokyoTechMagicYang/RAM-W600",
        f"put that folder into {tmp_path}/downloads/manual", "--source",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--dataset=ram_h12"], 1, ["ram_h12", "ram_phantom, ram_h1200, ram_w600"]),
        (["--dataset=ram_w600/all"], 1, ["'all'", "joint, bones, scores"]),
        (["--dataset=ram_h1200/big"], 1, ["'big'", "it has none"]),
        (["--dataset=ram_h1200", "--source=nowhere"], 1, ["nowhere is no folder"]),
        (["--dataset=ram_h1200", "--source={empty}"], 1, ["is empty", "name the folder"]),
        (["--dataset=ram_h1200", "--source=."], 1, ["does not hold the release RAM-H1200-v1", "Segmentation"]),
        (["--dataset=ram_phantom/tiny", "--source=."], 1, ["is made, not read", "leave --source out"]),
        ([], 2, ["--dataset is missing"]),
        (["--dataset=ram_h1200", "extra"], 2, ["'extra' is not a flag"]),
        (["--dateset=ram_h1200"], 2, ["dateset", "dataset"]),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, flags, code, words):
    (tmp_path / "empty").mkdir()
    flags = [flag.format(empty=tmp_path / "empty") for flag in flags]
    assert_one_sentence(call(*flags, f"--data_dir={tmp_path}"), code, *words)


def test_synthetic_hands_are_prepared_too(tmp_path):
    done = call("--dataset=ram_phantom/tiny", f"--data_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "Data set ram_phantom/tiny" in done.stdout and "No defects found." in done.stdout


def test_a_defect_names_the_file(tree, tmp_path):
    copy = tmp_path / "copy"
    release_tree.write_h1200(hands(), copy)
    path = min((copy / "Segmentation" / "val").glob("*.bmp"))
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    done = call("--dataset=ram_h1200", f"--source={copy}", f"--data_dir={tmp_path / 'data'}")
    assert_one_sentence(done, 1, path.name, "Git LFS pointer", "git lfs pull")


def test_help_helps():
    done = call("--help")
    assert done.returncode == 0
    for word in ("--dataset", "--source", "--data_dir", "ram_w600/joint", "downloads/manual", "metadata.json"):
        assert word in done.stdout

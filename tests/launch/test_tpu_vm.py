"""tpu_vm.sh on stand-ins: one folder is the home of all workers, and what is sent there is run there."""

import signal
import time

import pytest

WHERE = ("--name=pod", "--zone=z", "--project=p")
FLAGS = ("--config=a", "--config.tasks=('bones', 'joints')", "--workdir=/mnt/shared/x y")


def test_copies_installs_and_trains_again_when_told_to_stop(cluster):
    cluster.end_with(75, 75, 0)
    python = cluster.home / "bin" / "python"
    done = cluster.run("tpu_vm.sh", *WHERE, f"--python={python}", *FLAGS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert cluster.trainings() == [["--distributed", *FLAGS]] * 3  # quoted through two shells
    assert (cluster.home / "worker" / "ramjax" / "launch" / "environment.sh").exists()
    installed = [call["words"] for call in cluster.calls("python") if call["words"][:2] == ["-m", "pip"]]
    assert [words[-1] for words in installed] == [".", "jax[tpu]"]
    assert not cluster.calls("sudo")
    calls = [call["words"] for call in cluster.calls("gcloud")]
    assert [words[3] for words in calls] == ["scp", "ssh", "ssh", "ssh", "ssh"]
    for words in calls:
        assert words[:3] == ["compute", "tpus", "tpu-vm"]
        assert {"--worker=all", "--zone=z", "--project=p"} <= set(words)
    assert calls[0][5] == "pod:ramjax.tar.gz" and {words[4] for words in calls[1:]} == {"pod"}


def test_an_error_is_not_tried_again(cluster):
    cluster.end_with(1)
    done = cluster.run("tpu_vm.sh", *WHERE, f"--python={cluster.home / 'bin' / 'python'}", *FLAGS)
    assert done.returncode == 1
    assert len(cluster.trainings()) == 1


def test_a_failed_installation_ends_it(cluster):
    done = cluster.run("tpu_vm.sh", *WHERE, "--python=/nowhere/python", *FLAGS)
    assert done.returncode not in (0, 75)
    assert not cluster.trainings()


@pytest.mark.parametrize("early", [False, True])
def test_a_signal_stops_the_workers_and_starts_nothing_more(cluster, early):
    cluster.hold()  # until the launcher sends the workers a signal
    if early:
        cluster.miss_the_next_signal()
    cluster.end_with(75)
    process = cluster.start("tpu_vm.sh", *WHERE, f"--python={cluster.home / 'bin' / 'python'}", *FLAGS)
    deadline = time.monotonic() + 30
    while not cluster.trainings() and time.monotonic() < deadline:
        time.sleep(0.05)
    gcloud = cluster.calls("gcloud")[-1]
    process.send_signal(signal.SIGTERM)  # to the launcher alone: the connection to the workers stands
    process.communicate(timeout=30)
    assert process.returncode == 75
    stops = cluster.calls("gcloud")[cluster.calls("gcloud").index(gcloud) + 1 :]
    assert len(stops) == 1 + early and all("pkill -TERM -o" in stop["words"][-1] for stop in stops)
    assert len(cluster.trainings()) == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--zone=z", "--workdir=/x"), "--name"),
        (("--name=n", "--workdir=/x"), "--zone"),
        (("--name=n", "--zone=z"), "--workdir"),
        (("--name=n", "--zone=z", "--workdir=gs://bucket/x"), "gs://bucket/x is a bucket"),
        (("--name=n", "--zone=z", "--workdir=runs/x"), "/mnt/shared/runs/x"),
    ],
)
def test_what_is_missing_or_wrong_is_named(cluster, words, named):
    done = cluster.run("tpu_vm.sh", "--config=a", *words)
    assert done.returncode == 2
    assert named in done.stderr.splitlines()[-1]
    assert not cluster.calls("gcloud")


def test_uncommitted_changes_are_warned_of(cluster):
    (cluster.tree / "requirements.txt").write_text("jax\nflax\n")
    assert "committed" in cluster.run("tpu_vm.sh", "--dry-run", *WHERE, *FLAGS).stderr

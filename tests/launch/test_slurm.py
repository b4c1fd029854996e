"""slurm.sbatch on a cluster of stand-ins: queued again when told to stop, one task a GPU, arrays by line."""

import re
import signal
import time

import pytest

from tests.launch.fakes import LAUNCH


def job(cluster, **more):
    return {"SLURM_JOB_ID": 41, "SLURM_SUBMIT_DIR": cluster.tree, "SLURM_NTASKS": 1, "SLURM_NTASKS_PER_NODE": 1, **more}


def test_a_run_told_to_stop_is_queued_again_and_goes_on(cluster):
    cluster.end_with(75)
    flags = ["--config=a", "--config.tasks=('bones', 'joints')"]
    first = cluster.run("slurm.sbatch", *flags, **job(cluster))
    assert first.returncode == 75
    assert "queued again" in first.stdout
    assert [call["words"] for call in cluster.calls("scontrol")] == [["requeue", "41"]]
    again = cluster.run("slurm.sbatch", *flags, **job(cluster))
    assert again.returncode == 0, again.stderr
    assert len(cluster.calls("scontrol")) == 1
    assert cluster.trainings() == [flags, flags]


@pytest.mark.parametrize("code", [0, 1, 2, 137])
def test_no_other_end_is_queued_again(cluster, code):
    cluster.end_with(code)
    assert cluster.run("slurm.sbatch", "--config=a", **job(cluster)).returncode == code
    assert not cluster.calls("scontrol")


def test_a_preemption_that_queues_the_job_itself_is_no_failure_of_the_script(cluster):
    cluster.end_with(75)
    cluster.end_with(1, of="scontrol")
    done = cluster.run("slurm.sbatch", "--config=a", **job(cluster))
    assert done.returncode == 75
    assert "scontrol show job" in done.stderr


def test_a_signal_to_the_script_waits_for_the_training(cluster):
    hold = cluster.hold()
    cluster.end_with(75)
    process = cluster.start("slurm.sbatch", "--config=a", **job(cluster))
    deadline = time.monotonic() + 30
    while not cluster.trainings() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    hold.unlink()
    process.communicate(timeout=30)
    assert process.returncode == 75
    assert len(cluster.calls("scontrol")) == 1


def test_several_tasks_join_each_other(cluster):
    gpus = {"SLURM_NTASKS": 8, "SLURM_NTASKS_PER_NODE": 4, "SLURM_GPUS_ON_NODE": 4, "SLURM_CPUS_PER_TASK": 12}
    cluster.has_gpus(*["NVIDIA H100 80GB HBM3, 550.54.15, 9.0"] * 4)
    assert cluster.run("slurm.sbatch", "--config=a", **job(cluster, **gpus)).returncode == 0
    assert cluster.trainings() == [["--distributed", "--config=a"]]
    (srun,) = cluster.calls("srun")
    assert "--cpus-per-task=12" in srun["words"]  # since 22.05 srun does not take it from the job
    assert not any(word.startswith(("--gpus-per-task", "--gpu-bind")) for word in srun["words"])
    assert any("jax[cuda12]" in call["words"] for call in cluster.calls("python"))


def test_another_number_of_tasks_than_gpus_is_refused(cluster):
    gpus = {"SLURM_NTASKS": 1, "SLURM_NTASKS_PER_NODE": 1, "SLURM_GPUS_ON_NODE": 4}
    done = cluster.run("slurm.sbatch", "--config=a", **job(cluster, **gpus))
    assert done.returncode == 2
    assert "--ntasks-per-node=4" in done.stderr
    assert not cluster.trainings()


def test_a_task_of_an_array_runs_its_line_and_queues_itself_alone(cluster):
    (cluster.tree / "a file").write_text("--config=a --workdir=x\n--config=b '--config.tasks=('\"'\"'bones'\"'\"',)'\n")
    cluster.end_with(75)
    array = {"SLURM_ARRAY_JOB_ID": 41, "SLURM_ARRAY_TASK_ID": 2}  # the last task has the array's own number
    assert cluster.run("slurm.sbatch", "--lines=a file", **job(cluster, **array)).returncode == 75
    assert cluster.trainings() == [["--config=b", "--config.tasks=('bones',)"]]
    assert [call["words"] for call in cluster.calls("scontrol")] == [["requeue", "41_2"]]
    beyond = cluster.run("slurm.sbatch", "--lines=a file", **job(cluster, **array | {"SLURM_ARRAY_TASK_ID": 3}))
    assert beyond.returncode == 2
    assert "no line 3" in beyond.stderr


def test_it_asks_to_be_submitted_from_the_repository(cluster, tmp_path):
    assert "sbatch launch/slurm.sbatch" in cluster.run("slurm.sbatch", "--config=a").stderr
    done = cluster.run("slurm.sbatch", "--config=a", **job(cluster, SLURM_SUBMIT_DIR=tmp_path))
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr


def test_what_it_asks_slurm_for():
    text = (LAUNCH / "slurm.sbatch").read_text()
    head = text[: text.index("\nset ")]  # Slurm reads no further than the first command
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", head, re.MULTILINE))
    assert len(asked) == text.count("\n#SBATCH ")
    assert asked["ntasks-per-node"] == asked["gpus-per-node"] == "1"
    assert asked["requeue"] == "" and asked["open-mode"] == "append"
    name, _, seconds = asked["signal"].partition("@")  # without B: it goes to the tasks, not to the script
    assert name == "TERM" and int(seconds) >= 60

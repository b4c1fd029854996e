"""gke.sh: the manifest against the fields of JobSet v1alpha2, batch/v1 Job and core/v1 Pod."""

import re

import pytest
import yaml

from ramjax.devices.preemption import REQUEUE_EXIT_CODE

WHERE = {
    "name": "big", "image": "registry.example/ramjax:1", "claim": "shared",
    "accelerator": "tpu-v5-lite-podslice", "topology": "4x4", "hosts": "4",
}  # fmt: skip
FLAGS = ("--config=a", "--config.tasks=('bones', 'joints')", "--workdir=/mnt/ramjax/x")

FIELDS = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "spec": {
        "coordinator", "failurePolicy", "managedBy", "network", "replicatedJobs", "startupPolicy", "successPolicy",
        "suspend", "ttlSecondsAfterFinished",
    },
    "spec.failurePolicy": {"maxRestarts", "restartStrategy", "rules"},
    "spec.failurePolicy.rules": {"name", "action", "onJobFailureReasons", "targetReplicatedJobs"},
    "spec.replicatedJobs": {"dependsOn", "groupName", "name", "replicas", "template"},
    "spec.replicatedJobs.template.spec": {
        "activeDeadlineSeconds", "backoffLimit", "completionMode", "completions", "parallelism", "podFailurePolicy",
        "template", "ttlSecondsAfterFinished",
    },
    "spec.replicatedJobs.template.spec.podFailurePolicy.rules": {"action", "onExitCodes", "onPodConditions"},
    "spec.replicatedJobs.template.spec.podFailurePolicy.rules.onExitCodes": {"containerName", "operator", "values"},
    "spec.replicatedJobs.template.spec.podFailurePolicy.rules.onPodConditions": {"type", "status"},
    "spec.replicatedJobs.template.spec.template.spec": {
        "containers", "nodeSelector", "restartPolicy", "terminationGracePeriodSeconds", "volumes",
    },
    "spec.replicatedJobs.template.spec.template.spec.containers": {
        "args", "command", "env", "image", "name", "ports", "resources", "volumeMounts", "workingDir",
    },
}  # fmt: skip
"""What these objects may have, by path (https://jobset.sigs.k8s.io/docs/reference, Kubernetes API reference)."""


def apply(cluster, *flags, **changed):
    return cluster.run("gke.sh", *(f"--{key}={value}" for key, value in (WHERE | changed).items() if value), *flags)


def manifest(cluster, *flags, **changed):
    done = apply(cluster, *flags, **changed)
    assert done.returncode == 0, done.stderr
    (call,) = cluster.calls("kubectl")
    assert call["words"] == ["apply", "-f", "-"]
    assert call["input"].strip() in done.stdout  # what is shown is what is applied
    return yaml.safe_load(call["input"])


def objects(value, path=""):
    """Every mapping with its path; the elements of a list have the path of the list."""
    if isinstance(value, dict):
        yield path, value
        for key, below in value.items():
            yield from objects(below, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for below in value:
            yield from objects(below, path)


def test_the_manifest_has_known_fields_only(cluster):
    found = {path: set(value) for path, value in objects(manifest(cluster, *FLAGS))}
    assert FIELDS.keys() <= found.keys()
    for path, known in FIELDS.items():
        assert found[path] <= known, path


def test_every_host_of_the_slice_runs_the_training(cluster):
    of = manifest(cluster, *FLAGS)
    assert (of["apiVersion"], of["kind"], of["metadata"]["name"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet", "big")
    (replicated,) = of["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    assert (job["parallelism"], job["completions"], job["completionMode"], job["backoffLimit"]) == (4, 4, "Indexed", 0)
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
    (container,) = pod["containers"]
    assert container["command"] == ["python", "-m", "ramjax.main", "--distributed", *FLAGS]
    assert container["image"] == WHERE["image"]
    assert container["resources"] == {"limits": {"google.com/tpu": 4}}
    (volume, memory), (mount, shared_memory) = pod["volumes"], container["volumeMounts"]
    assert memory == {"name": "shm", "emptyDir": {"medium": "Memory"}}
    assert shared_memory == {"name": "shm", "mountPath": "/dev/shm"}
    assert volume["name"] == mount["name"] and volume["persistentVolumeClaim"] == {"claimName": "shared"}
    (cache,) = container["env"]
    assert cache["name"] == "JAX_COMPILATION_CACHE_DIR" and cache["value"].startswith(mount["mountPath"] + "/")


def test_told_to_stop_it_starts_again_for_free(cluster):
    spec = manifest(cluster, *FLAGS)["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"]
    condition, code = job["podFailurePolicy"]["rules"]
    assert condition == {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert code["action"] == "FailJob"
    assert code["onExitCodes"] == {"containerName": "ramjax", "operator": "In", "values": [REQUEUE_EXIT_CODE]}
    assert job["template"]["spec"]["containers"][0]["name"] == "ramjax"
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # a pod failure policy takes no other
    (rule,) = spec["failurePolicy"]["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])
    assert spec["failurePolicy"]["maxRestarts"] > 0  # of any other failure


def test_a_single_host_joins_nobody(cluster):
    of = manifest(cluster, *FLAGS, topology="2x4", hosts="1", chips="8")
    (container,) = of["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"]
    assert "--distributed" not in container["command"]
    assert container["resources"]["limits"]["google.com/tpu"] == 8


@pytest.mark.parametrize("missing", list(WHERE))
def test_a_missing_flag_is_named(cluster, missing):
    done = apply(cluster, *FLAGS, **{missing: ""})
    assert done.returncode == 2
    assert f"--{missing}=" in done.stderr
    assert not cluster.calls("kubectl")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"name": "Big_run"}, "Big_run"),
        ({"hosts": "many"}, "--hosts=many"),
        ({"topology": "4by4"}, "--topology=4by4"),
        ({"topology": "2x4"}, "--topology=2x4 is not --hosts=4 x --chips=4"),
        ({"workdir": "runs/x"}, "--workdir=runs/x"),
        ({"workdir": "gs://bucket/x"}, "--workdir=gs://bucket/x"),
    ],
)
def test_a_wrong_value_is_named(cluster, changed, named):
    done = apply(cluster, "--config=a", **{"workdir": "/mnt/ramjax/x"} | changed)
    assert done.returncode == 2
    assert named in done.stderr
    assert not cluster.calls("kubectl")

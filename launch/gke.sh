#!/usr/bin/env bash
# A run on a TPU slice of a GKE cluster that has JobSet 0.6 or newer (https://jobset.sigs.k8s.io): applies a manifest.
#   launch/gke.sh --name=big --image=IMAGE --claim=PVC --accelerator=tpu-v5-lite-podslice --topology=4x4 --hosts=4 \
#     [--chips=4] [--dry-run] --config=experiments/multitask.py:accelerator --workdir=/mnt/ramjax/runs/big [FLAGS]
# IMAGE holds this repository in its working folder, installed (launch/README.md has the Dockerfile). PVC is a volume
# claim that many nodes may write to; it is mounted at /mnt/ramjax. --hosts x --chips is the size of the topology.
# Told to stop, as before a node is taken, the pods save and the set starts again, however often; after an error, or a
# node that died without a word, three times at most. Then: kubectl logs -f -l jobset.sigs.k8s.io/jobset-name=big
set -euo pipefail

dry_run=false name='' image='' claim='' accelerator='' topology='' hosts='' chips=4 flags=() workdir=''
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=true ;;
    --name=* | --image=* | --claim=* | --accelerator=* | --topology=* | --hosts=* | --chips=*)
      key=${argument%%=*} && printf -v "${key#--}" '%s' "${argument#*=}" ;;
    --workdir=*) workdir=${argument#*=} && flags+=("$argument") ;;
    *) flags+=("$argument") ;;
  esac
done
fail() { echo "gke.sh: $1" >&2 && exit 2; }
for key in name image claim accelerator topology hosts chips; do
  [ -n "${!key}" ] || fail "--$key=VALUE is missing; the head of launch/gke.sh shows a whole command."
done
[[ $name =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] || fail "--name=$name must be of a-z, 0-9 and hyphens, a letter first."
[[ $hosts$chips =~ ^[1-9][0-9]*$ ]] || fail "--hosts=$hosts and --chips=$chips must be numbers."
[[ $topology =~ ^[0-9]+(x[0-9]+)+$ ]] || fail "--topology=$topology must be like 4x4 or 2x2x2."
[ $((${topology//x/*})) = $((hosts * chips)) ] || fail "--topology=$topology is not --hosts=$hosts x --chips=$chips."
[[ $workdir == /mnt/ramjax/* ]] || fail "--workdir=$workdir must be on the shared volume: /mnt/ramjax/..."

[ "$hosts" = 1 ] || flags=(--distributed "${flags[@]}")
command=''
for argument in python -m ramjax.main "${flags[@]}"; do
  command+="${command:+, }'${argument//\'/\'\'}'" # in YAML's single quotes nothing else is special
done

# Exit code 75 and pods that are evicted fail the job by its policy, which the set's policy restarts for free.
manifest="apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
  annotations: {alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool}
spec:
  failurePolicy:
    maxRestarts: 3
    rules:
    - {name: toldToStop, action: RestartJobSetAndIgnoreMaxRestarts, onJobFailureReasons: [PodFailurePolicy]}
  replicatedJobs:
  - name: slice
    replicas: 1
    template:
      spec:
        completionMode: Indexed
        completions: $hosts
        parallelism: $hosts
        backoffLimit: 0
        podFailurePolicy:
          rules:
          - {action: FailJob, onPodConditions: [{type: DisruptionTarget, status: 'True'}]}
          - {action: FailJob, onExitCodes: {containerName: ramjax, operator: In, values: [75]}}
        template:
          spec:
            restartPolicy: Never
            terminationGracePeriodSeconds: 120
            nodeSelector:
              {cloud.google.com/gke-tpu-accelerator: $accelerator, cloud.google.com/gke-tpu-topology: $topology}
            containers:
            - name: ramjax
              image: '$image'
              command: [$command]
              env: [{name: JAX_COMPILATION_CACHE_DIR, value: /mnt/ramjax/jax_cache}]
              resources: {limits: {google.com/tpu: $chips}}
              volumeMounts: [{name: shared, mountPath: /mnt/ramjax}, {name: shm, mountPath: /dev/shm}]
            volumes: # shm: data workers hand their batches over in shared memory, of which a pod has 64 MB by itself
            - {name: shared, persistentVolumeClaim: {claimName: '$claim'}}
            - {name: shm, emptyDir: {medium: Memory}}"

printf '+ kubectl apply -f - <<EOF\n%s\nEOF\n' "$manifest"
"$dry_run" || kubectl apply -f - <<<"$manifest"

#!/usr/bin/env bash
# Train on all hosts of a Cloud TPU slice. Not run by the project's tests: it has no TPU.
#   TPU=my-slice ZONE=us-east5-a launch/tpu_pod.sh --config configs/driving/video.py --workdir /mnt/shared/run
set -euo pipefail
: "${TPU:?name of the TPU slice}" "${ZONE:?its zone}"
gcloud compute tpus tpu-vm ssh "$TPU" --zone "$ZONE" --worker=all --command \
  "cd vldm_jax && VLDM_DISTRIBUTED=auto vldm train $(printf '%q ' "$@")"

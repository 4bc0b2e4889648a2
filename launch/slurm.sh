#!/usr/bin/env bash
#SBATCH --job-name=vldm --ntasks-per-node=1 --gpus-per-node=8 --signal=TERM@120 --requeue
# One process a node; jax finds the others through Slurm. SIGTERM saves a checkpoint, a requeue
# resumes. Not run by the project's tests: it has no cluster.
#   sbatch --nodes=4 launch/slurm.sh --config configs/driving/video.py --workdir /shared/run
set -euo pipefail
export VLDM_DISTRIBUTED=auto
srun vldm train "$@"

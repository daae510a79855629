# shellcheck shell=sh
# Settings of NCCL, CUDA and torchrun for training, each with its reason. Source it: . launch/env.sh
# What is set already stays, so that a cluster's own values win. The Dockerfile sets the same (a test compares them).

# One process for each GPU: without it torchrun starts one, and the other GPUs idle. Where there is no GPU torchrun
# would refuse "gpu", so there it is one.
if [ -z "${PET_NPROC_PER_NODE:-}" ]; then
    if [ -e /dev/nvidiactl ] || [ -e /dev/dxg ]; then PET_NPROC_PER_NODE=gpu; else PET_NPROC_PER_NODE=1; fi
fi
export PET_NPROC_PER_NODE

# With --max-restarts over several machines each attempt needs a store of its own: in the old one the addresses of the
# dead processes still stand, and the first restart waits for them in vain.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE="${TORCH_DISABLE_SHARE_RDZV_TCP_STORE:-1}"

# One queue of kernels keeps the order in which communication and computation were issued: with tensor parallelism
# Megatron's overlap counts on it (on cards before Blackwell).
export CUDA_DEVICE_MAX_CONNECTIONS="${CUDA_DEVICE_MAX_CONNECTIONS:-1}"

# Segments that grow: less memory lost between blocks of different sizes, so fewer out-of-memory errors near the limit.
export PYTORCH_CUDA_ALLOC_CONF="${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}"

# Only what goes wrong; INFO prints a page for each rank and communicator.
export NCCL_DEBUG="${NCCL_DEBUG:-WARN}"

# NVLink SHARP needs multicast, which virtual machines and shared hosts often lack; there NCCL may fail at the first
# collective. On an HGX or DGX of your own: export NCCL_NVLS_ENABLE=1
export NCCL_NVLS_ENABLE="${NCCL_NVLS_ENABLE:-0}"

# Waits of a collective are the trainer's to judge (parallel.timeout_seconds); NCCL's monitor shall not end a process
# that reads a large dataset or writes a checkpoint before that.
export TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC="${TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC:-1800}"

# A tokenizer's threads and a rank's data workers together would take the cores several times over.
export TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM:-false}"

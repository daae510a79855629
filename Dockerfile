# syntax=docker/dockerfile:1
# Everything that a training needs, on NVIDIA's PyTorch image or slim. docs/container.md says more.
#
#     bash launch/build_image.sh                 # NGC's torch, Transformer Engine and apex, CUDA 13 (driver 580 or newer)
#     bash launch/build_image.sh --variant slim  # CUDA base and wheels; ngc-cuda12, slim-cuda12: driver 525 or newer
#     docker build .                             # the same as the first
#
# Stages: `build` makes the virtual environment and is thrown away; `common` holds it, `cloud` adds sshd and Jupyter for
# RunPod and its like and is root, as they expect; `runtime`, the last, is not root.
# Layers, so that a changed line of code re-pushes 10 MB: base | system packages | Python packages | code.

# launch/images.json holds the other variants. Both stages of NGC's start from one image, so that nothing in the virtual
# environment meets another libc, CUDA or Python than it was made with.
ARG BUILD_IMAGE=nvcr.io/nvidia/pytorch:26.08-py3@sha256:3becd068f49bd2ad38f90db5f9a4803019a76933a24e63d821376c44e7a9200a
ARG RUN_IMAGE=nvcr.io/nvidia/pytorch:26.08-py3@sha256:3becd068f49bd2ad38f90db5f9a4803019a76933a24e63d821376c44e7a9200a

FROM ${BUILD_IMAGE} AS build
# Empty where the base brings Python 3.12 with its headers, as NGC's does.
ARG PYTHON_PACKAGES=""
# Extras of pyproject.toml; Transformer Engine is no part of any here.
ARG EXTRAS="gpu,tracking,eval,cloud,muon"
# Extras of Transformer Engine, which then is compiled against torch; empty where the base brings it.
ARG TRANSFORMER_ENGINE=""
# What is to differ from requirements.lock, with all that torch asks for, as "torch==2.10.0 …".
ARG OTHER_PINS=""
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008,SC2086
RUN if [[ -n "$PYTHON_PACKAGES" ]]; then \
        apt-get update && apt-get install -y --no-install-recommends build-essential $PYTHON_PACKAGES \
        && rm -rf /var/lib/apt/lists/*; \
    fi
WORKDIR /opt/recipe
COPY pyproject.toml requirements.lock ./
COPY launch/image_constraints.py launch/image_requirements.py launch/image_packages.sh launch/
# A pip configuration of yours (mirror, proxy): docker build --secret id=pip,src=$HOME/.config/pip/pip.conf; it is in no
# layer. The cache is the builder's and is in no layer either.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/var/cache/pip \
    PIP_CACHE_DIR=/var/cache/pip bash launch/image_packages.sh /opt/venv

FROM ${RUN_IMAGE} AS common
ARG PYTHON_PACKAGES=""
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# tini: signals reach torchrun, and dead processes are gone. gcc: Triton compiles kernels at run time. iproute2, procps:
# launch/multinode.sh. rclone and rsync: `sync`. git, tmux: what a person needs who works in it.
# hadolint ignore=DL3008,SC2086
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates curl gcc git iproute2 less libc6-dev openssh-client procps rclone rsync tini tmux $PYTHON_PACKAGES \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/venv /opt/venv
# The reason of each stands in launch/env.sh, which sets the same outside of images.
# hadolint ignore=DL3064
ENV PATH=/opt/venv/bin:$PATH \
    PET_NPROC_PER_NODE=gpu \
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 \
    CUDA_DEVICE_MAX_CONNECTIONS=1 \
    PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True \
    NCCL_DEBUG=WARN \
    NCCL_NVLS_ENABLE=0 \
    TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC=1800 \
    TOKENIZERS_PARALLELISM=false
# Lines appear when they are printed, also in `docker logs`; UTF-8 for Chinese text; all of the driver's libraries.
ENV PYTHONUNBUFFERED=1 \
    LANG=C.UTF-8 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# On a RunPod or AutoDL machine /workspace and /root/autodl-tmp are the disks that stay; the entrypoint looks for them.
WORKDIR /opt/recipe
COPY . .
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation --no-index -e . \
    && /opt/venv/bin/python -m compileall -q megatron_recipe data_prep checkpoints_tools eval launch \
    && install -m 644 launch/container/login.sh /etc/profile.d/megatron-recipe.sh
ENTRYPOINT ["/usr/bin/tini", "-g", "--", "/opt/recipe/launch/container/entrypoint.sh"]
CMD ["bash", "-l"]

FROM common AS cloud
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openssh-server \
    && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
    && mkdir -p /run/sshd
# The versions of requirements.lock stay; Jupyter is in a virtual environment of its own, which the recipe never sees.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/var/cache/pip \
    python3 -m venv /opt/jupyter \
    && PIP_CACHE_DIR=/var/cache/pip PIP_CONSTRAINT="" /opt/jupyter/bin/pip install "jupyterlab==4.*"
EXPOSE 22 8888 6006
ENV MEGATRON_RECIPE_SERVICES=1
RUN megatron-recipe doctor --build
CMD ["sleep", "infinity"]
ARG REVISION=unknown
ARG VERSION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="megatron-recipe" \
    org.opencontainers.image.description="Pretrain a 100M-7B GPT from raw text, for rented GPUs: sshd and Jupyter" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.created="$CREATED"

FROM common AS runtime
# The number is free to choose with `docker run --user`; every folder that is written to is a mount.
RUN useradd --create-home --uid 10001 --shell /bin/bash recipe \
    && install -d -o recipe -g recipe /data
WORKDIR /data
USER 10001
RUN megatron-recipe doctor --build
# Last, since the commit differs in every build and a label before them would make the steps above run anew.
ARG REVISION=unknown
ARG VERSION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="megatron-recipe" \
    org.opencontainers.image.description="Pretrain a 100M-7B GPT from raw text" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.created="$CREATED"

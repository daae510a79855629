"""Configurations that break one rule each, for the tests of `validation`."""

from broken_kernels import BROKEN_KERNELS

FP8 = ("precision.dtype=bf16", "precision.fp8=delayed")

# overrides of gpt_tiny_cpu, processes, what the message must say
BROKEN = {
    "a stretch that leaves out nothing": (
        ["data.skip_samples=[{first: 9, stop: 3}]"],
        1,
        ["data.skip_samples=9:3", "below stop", "use 3:9"],
    ),
    "a stretch longer than the run": (
        ["data.skip_samples=[{first: 0, stop: 100000000}]"],
        1,
        ["data.skip_samples=0:100000000", "7,200", "leave out less"],
    ),
    "groups divide heads": (["model.num_kv_groups=3"], 1, ["model.num_kv_groups=3", "model.num_heads=4", "1, 2, 4"]),
    "RoPE turns pairs": (["model.head_dim=33"], 1, ["model.head_dim=33", "even", "use 34"]),
    "biases or norms": (
        ["model.qkv_bias=true", "model.qk_norm=true"],
        1,
        ["model.qkv_bias=true", "model.qk_norm=true", "set one of them to false"],
    ),
    "slow frequencies are below fast ones": (
        ["model.rope_scaling.factor=8", "model.rope_scaling.low_frequency_factor=4"],
        1,
        ["model.rope_scaling.low_frequency_factor=4", "high_frequency_factor=4", "Llama 3 has 1 and 4"],
    ),
    "processes for the layout": (
        ["parallel.tensor=2", "parallel.pipeline=2"],
        2,
        ["2 × 2 × 1 = 4", "number of processes, 2", "--nproc-per-node 4"],
    ),
    "tensor divides heads": (["parallel.tensor=3"], 3, ["parallel.tensor=3", "model.num_heads=4", "1, 2, 4"]),
    "tensor divides groups": (
        ["parallel.tensor=4"],
        4,
        ["parallel.tensor=4", "model.num_kv_groups=2", "use one of 1, 2"],
    ),
    "tensor divides the feed-forward": (
        ["parallel.tensor=2", "model.ffn_hidden_size=35"],
        2,
        ["parallel.tensor=2", "model.ffn_hidden_size=35", "1, 5, 7, 35"],
    ),
    "tensor divides the vocabulary": (
        ["parallel.tensor=2", "model.vocab_multiple_of=15"],
        2,
        ["parallel.tensor=2", "model.vocab_multiple_of=15", "1, 3, 5, 15"],
    ),
    "pipeline divides layers": (["parallel.pipeline=3"], 3, ["3 × 1 = 3", "model.num_layers=4", "1, 2, 4"]),
    "virtual stages divide layers": (
        ["parallel.pipeline=2", "parallel.virtual_stages=3"],
        2,
        ["2 × 3 = 6", "model.num_layers=4", "1, 2, 4"],
    ),
    "virtual stages need stages": (
        ["parallel.virtual_stages=2"],
        1,
        ["parallel.virtual_stages=2", "parallel.pipeline=1", "set parallel.virtual_stages=1"],
    ),
    "sequence parallel needs tensor": (
        ["parallel.sequence_parallel=true"],
        1,
        ["parallel.sequence_parallel=true", "parallel.tensor=1", "set parallel.sequence_parallel=false"],
    ),
    "sequence parallel divides the length": (
        ["parallel.sequence_parallel=true", "parallel.tensor=2", "model.sequence_length_tokens=255"],
        2,
        ["model.sequence_length_tokens=255", "multiple of 2", "use 254"],
    ),
    "context divides the length": (
        ["parallel.context=2", "model.sequence_length_tokens=254"],
        2,
        ["model.sequence_length_tokens=254", "multiple of 4", "use 252"],
    ),
    "micro-batch divides the batch": (
        ["batch.global_batch_size_samples=12"],
        1,
        ["batch.global_batch_size_samples=12", "8 × 1 = 8", "use 16"],
    ),
    "ranks divide the batch": ([], 3, ["batch.global_batch_size_samples=16", "8 × 3 = 24", "use 24"]),
    "virtual stages and micro-batches": (
        ["parallel.pipeline=2", "parallel.virtual_stages=2", "batch.micro_batch_size_samples=16"],
        2,
        ["microbatches in a step, 1", "parallel.pipeline=2", "batch.global_batch_size_samples=32"],
    ),
    "least rate below the peak": (
        ["schedule.min_learning_rate=1"],
        1,
        ["schedule.min_learning_rate=1.0", "schedule.peak_learning_rate=0.004", "a tenth"],
    ),
    "steps after the warm-up": (
        ["schedule.warmup_fraction=0.96", "train.steps=10"],
        1,
        ["schedule.warmup_fraction=0.96", "train.steps=10", "use 0.02 to 0.1"],
    ),
    "warm-up and decay within the run": (
        ["schedule.decay=wsd", "schedule.warmup_fraction=0.3", "schedule.wsd_decay_fraction=0.8"],
        1,
        ["schedule.warmup_fraction=0.3", "schedule.wsd_decay_fraction=0.8", "wsd_decay_fraction=0.70 or less"],
    ),
    "stop before the end": (
        ["train.stop_at_step=451"],
        1,
        ["train.stop_at_step=451", "train.steps=450", "use 0", "raise train.steps"],
    ),
    "training text for one sample": (
        ["model.sequence_length_tokens=100000"],
        1,
        ["datasets/demo", "training split has 100000 tokens", "model.sequence_length_tokens=100000", "more text"],
    ),
    "held-out text for one sample": (
        ["model.sequence_length_tokens=10000"],
        1,
        ["validation split has 10000 tokens", "--set dataset.validation_share=0.1", "train.validation_samples=0"],
    ),
    "a ramp-up begins below the full batch": (
        ["batch.ramp_up_from_samples=16", "batch.ramp_up_increment_samples=8", "batch.ramp_up_steps=9"],
        1,
        ["batch.ramp_up_from_samples=16", "batch.global_batch_size_samples=16", "or 0 for no ramp-up"],
    ),
    "a ramp-up rises in whole steps": (
        ["batch.ramp_up_from_samples=8", "batch.ramp_up_increment_samples=3", "batch.ramp_up_steps=9"],
        1,
        ["batch.ramp_up_increment_samples=3", "must divide", "16 - 8 = 8", "use 8"],
    ),
    "a ramp-up has a step for each rise": (
        ["batch.global_batch_size_samples=48", "batch.ramp_up_from_samples=8", "batch.ramp_up_increment_samples=8"],
        1,
        ["batch.ramp_up_steps=0", "at least the number of rises", "(48 - 8) / 8 = 5", "use more steps"],
    ),
    "a ramp-up ends within the run": (
        [
            "batch.ramp_up_from_samples=8",
            "batch.ramp_up_increment_samples=8",
            "batch.ramp_up_steps=450",
        ],
        1,
        ["batch.ramp_up_steps=450", "less than train.steps=450", "use 45"],
    ),
    "ranks divide the batches of a ramp-up": (
        [
            "batch.global_batch_size_samples=32",
            "batch.ramp_up_from_samples=8",
            "batch.ramp_up_increment_samples=8",
            "batch.ramp_up_steps=9",
        ],
        2,
        ["batch.ramp_up_from_samples=8", "multiple of", "= 16", "use 16"],
    ),
    "phases are in order": (
        ["data.phases=[{from_step: 20, datasets: [{path: a}]}, {from_step: 20, datasets: [{path: b}]}]"],
        1,
        ["data.phases.1.from_step=20", "greater than the step of the phase before it, 20", "order phases"],
    ),
    "phases begin within the run": (
        ["data.phases=[{from_step: 450, datasets: [{path: a}]}]"],
        1,
        ["data.phases.0.from_step=450", "less than train.steps=450", "remove the phase"],
    ),
    "money needs a price": (
        ["budget.amount=3000"],
        1,
        ["budget.amount=3000 cny", "needs budget.price_per_hour", "--price 5/h"],
    ),
    "budget and price in one currency": (
        ["budget.amount=400", "budget.unit=usd", "budget.price_per_hour=5"],
        1,
        ["budget.unit=usd", "budget.currency=cny", "must be the same", "give both in one"],
    ),
    "a budget of a step at least": (
        ["budget.amount=4095", "budget.unit=tokens"],
        1,
        ["budget.amount=4095 tokens", "less than one step of 4,096", "give more, or a smaller batch"],
    ),
    "a budget ends decayed": (
        ["budget.amount=4", "budget.unit=hours", "schedule.decay=constant"],
        1,
        ["schedule.decay=constant", "never comes down", "use schedule.decay=wsd"],
    ),
    "FP8 rounds BF16": (
        ["precision.fp8=delayed"],
        1,
        ["precision.dtype=fp32", "precision.fp8=delayed", "set precision.dtype=bf16, or precision.fp8=off"],
    ),
    "FP8 multiplies sides of 16": (
        [*FP8, "model.ffn_hidden_size=360"],
        1,
        ["model.ffn_hidden_size=360", "multiple of 16", "precision.fp8=delayed", "use 368"],
    ),
    "FP8 in blocks multiplies sides of 128": (
        ["precision.dtype=bf16", "precision.fp8=blockwise"],
        1,
        ["model.ffn_hidden_size=352", "multiple of 128", "precision.fp8=blockwise", "use 384"],
    ),
    "FP8 multiplies tokens by 16": (
        [*FP8, "model.sequence_length_tokens=250", "batch.micro_batch_size_samples=4"],
        1,
        ["sequence_length_tokens × batch.micro_batch_size_samples = 250 × 4", "1000", "use 1008"],
    ),
    "selective recompute saves nothing in FP8": (
        [*FP8, "memory.recompute=selective"],
        1,
        ["memory.recompute=selective", "precision.fp8=delayed", "set memory.recompute=none or full"],
    ),
    "muon's states are not split": (
        ["optimizer.kind=muon"],
        1,
        ["parallel.distributed_optimizer=true", "optimizer.kind=muon", "set parallel.distributed_optimizer=false"],
    ),
    "sgd's states are not split": (
        ["optimizer.kind=sgd"],
        1,
        ["parallel.distributed_optimizer=true", "optimizer.kind=sgd", "set parallel.distributed_optimizer=false"],
    ),
    "muon has no FP16": (
        ["optimizer.kind=muon", "parallel.distributed_optimizer=false", "precision.dtype=fp16"],
        1,
        ["optimizer.kind=muon", "precision.dtype=fp16", "set precision.dtype=bf16, or optimizer.kind=adamw"],
    ),
    "rounded states are of BF16 weights": (
        ["optimizer.states=bf16"],
        1,
        ["optimizer.states=bf16", "precision.dtype=fp32", "set precision.dtype=bf16, or optimizer.states=fp32"],
    ),
    "rounded states are AdamW's": (
        ["optimizer.states=bf16", "optimizer.kind=sgd", "parallel.distributed_optimizer=false"],
        1,
        ["optimizer.states=bf16", "optimizer.kind=adamw", "set these, or optimizer.states=fp32"],
    ),
    "rounded states have no whole master weights": (
        ["optimizer.states=bf16", "precision.dtype=bf16", "precision.fp8=blockwise"],
        1,
        ["optimizer.states=bf16", "precision.fp8=blockwise", "set precision.fp8=delayed or off"],
    ),
    "rounded gradients need rounded states": (
        ["precision.gradients=bf16"],
        1,
        ["precision.gradients=bf16", "optimizer.states=bf16", "or precision.gradients=fp32"],
    ),
    **BROKEN_KERNELS,
    "masked documents are not split": (
        ["data.mask_between_documents=true", "parallel.context=2"],
        2,
        ["data.mask_between_documents=true", "parallel.context=2", "set parallel.context=1"],
    ),
    "W&B online needs a key": (
        ["logging.wandb=online"],
        1,
        ["logging.wandb=online needs a key", "WANDB_API_KEY", "use logging.wandb=offline"],
    ),
    "SwanLab's cloud needs a key": (
        ["logging.swanlab=cloud"],
        1,
        ["logging.swanlab=cloud needs a key", "SWANLAB_API_KEY", "use logging.swanlab=local"],
    ),
    "a profile ends behind its beginning": (
        ["logging.profile_first_step=9", "logging.profile_last_step=5"],
        1,
        ["logging.profile_last_step=5", "not be less than", "logging.profile_first_step=9", "0 for both"],
    ),
    "a profile has a beginning": (
        ["logging.profile_last_step=5"],
        1,
        ["logging.profile_last_step=5 needs logging.profile_first_step, at least 1", "0 for both"],
    ),
    "histograms go to TensorBoard": (
        ["logging.histograms_every_steps=10", "logging.tensorboard=false"],
        1,
        ["logging.histograms_every_steps=10", "needs logging.tensorboard=true", "set histograms_every_steps=0"],
    ),
    "benchmarks are known": (
        ["evaluation.every_steps=5", "evaluation.tasks=[arc]"],
        1,
        ["evaluation.tasks: arc is not known", "core", "arc_easy", "or set evaluation.every_steps=0"],
    ),
    "benchmarks have questions": (
        ["evaluation.every_steps=5", "evaluation.tasks=[piqa]", "evaluation.data_dir=nowhere"],
        1,
        ["piqa: no ", "nowhere/piqa", "eval download piqa --out nowhere", "or set evaluation.every_steps=0"],
    ),
    "benchmarks and interleaved stages": (
        ["evaluation.every_steps=5", "parallel.pipeline=2", "parallel.virtual_stages=2"],
        2,
        ["evaluation.every_steps=5", "parallel.virtual_stages=2", "set both to 1"],
    ),
    "a webhook has an address": (
        ["messages.webhook=wecom"],
        1,
        ["messages.webhook=wecom", "MEGATRON_RECIPE_WEBHOOK", "not set", "use messages.webhook=auto"],
    ),
}

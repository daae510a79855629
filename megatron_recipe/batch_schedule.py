"""How many samples each step takes: the global batch, raised in equal stretches at the start where that is asked for.

Steps count from 0 here: step 0 is the first. Everything is arithmetic on the configuration, without torch.
"""

from collections.abc import Iterator

from megatron_recipe.config import BatchConfig, Config


def batch_size_at(batch: BatchConfig, step: int) -> int:
    """Samples of the global batch of `step`."""
    if step >= _ramp_steps(batch):
        return batch.global_batch_size_samples
    level = step * _rises(batch) // batch.ramp_up_steps
    return batch.ramp_up_from_samples + level * batch.ramp_up_increment_samples


def samples_before(batch: BatchConfig, step: int) -> int:
    """Samples of the steps 0 to `step` - 1 together."""
    ramp = _ramp_steps(batch)
    samples = max(0, step - ramp) * batch.global_batch_size_samples
    inside = min(step, ramp)
    samples += inside * batch.ramp_up_from_samples if ramp else 0
    for rise in range(1, _rises(batch) if ramp else 0):
        begins = -(-rise * ramp // _rises(batch))
        samples += max(0, inside - begins) * batch.ramp_up_increment_samples
    return samples


def total_samples(config: Config) -> int:
    """Samples of the whole run of `train.steps` steps."""
    return samples_before(config.batch, config.train.steps)


def _ramp_steps(batch: BatchConfig) -> int:
    """Steps with less than the full batch; 0 without a ramp-up."""
    return batch.ramp_up_steps if batch.ramp_up_from_samples else 0


def _rises(batch: BatchConfig) -> int:
    return (batch.global_batch_size_samples - batch.ramp_up_from_samples) // batch.ramp_up_increment_samples


def ramp_problems(config: Config, world_size: int) -> Iterator[str]:
    """Messages for the rules that a ramp-up breaks; the full batch has its own rules in `validation`."""
    batch = config.batch
    first, rise, full = batch.ramp_up_from_samples, batch.ramp_up_increment_samples, batch.global_batch_size_samples
    if not first:
        return
    if first >= full:
        yield (
            f"batch.ramp_up_from_samples={first} must be less than batch.global_batch_size_samples={full}; "
            "use a smaller one, or 0 for no ramp-up"
        )
    elif not rise or (full - first) % rise:
        yield (
            f"batch.ramp_up_increment_samples={rise} must divide global_batch_size_samples - ramp_up_from_samples = "
            f"{full} - {first} = {full - first}; use {first if (full - first) % first == 0 else full - first}"
        )
    elif batch.ramp_up_steps < (full - first) // rise:
        yield (
            f"batch.ramp_up_steps={batch.ramp_up_steps} must be at least the number of rises, "
            f"({full} - {first}) / {rise} = {(full - first) // rise}; use more steps or a larger "
            "batch.ramp_up_increment_samples"
        )
    if batch.ramp_up_steps >= config.train.steps:
        yield (
            f"batch.ramp_up_steps={batch.ramp_up_steps} must be less than train.steps={config.train.steps}; "
            f"use {max(1, config.train.steps // 10)}, or batch.ramp_up_from_samples=0 for no ramp-up"
        )
    unit, named = _indivisible(config, world_size)
    for field, value in (("ramp_up_from_samples", first), ("ramp_up_increment_samples", rise)):
        if value % unit:
            yield f"batch.{field}={value} must be a multiple of {named} = {unit}; use {-(-value // unit) * unit}"


def _indivisible(config: Config, world_size: int) -> tuple[int, str]:
    """The number that every global batch is a multiple of, and how it comes about."""
    layout = config.parallel
    replicas = max(1, world_size // (layout.tensor * layout.pipeline * layout.context))
    unit, named = replicas, "the data-parallel ranks"
    if config.batch.micro_batch_size_samples != "auto":
        unit, named = unit * config.batch.micro_batch, f"micro_batch_size_samples × {named}"
    if layout.virtual_stages > 1:
        unit, named = unit * layout.pipeline, f"{named} × parallel.pipeline"
    return unit, named

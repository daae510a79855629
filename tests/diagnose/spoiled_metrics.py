"""The ways in which a run goes wrong, each by the check of `diagnose` that has to find it first."""

import math
from collections.abc import Callable
from typing import Any

from made_metrics import STEPS, Made

from megatron_recipe.diagnose.schedule import planned_rate

Spoiling = Callable[[Made], None]


def _schedule(made: Made) -> None:
    made.spoil(100, learning_rate=1e-3)


def _no_warmup(made: Made) -> None:
    made.config["schedule"]["warmup_fraction"] = 0.0
    for record in made.train:
        record["learning_rate"] = planned_rate(made.config, record["samples"])
    made.spoil(0, 60, loss_max=12.0, update_ratio=0.5)


def _small_batch(made: Made) -> None:
    made.config["batch"]["global_batch_size_samples"] = 4
    for record in made.train:
        record["samples"] = record["step"] * 4
        record["learning_rate"] = planned_rate(made.config, record["samples"])
    made.spoil(0, loss_jitter=lambda jitter: 8 * jitter, clipped_share=0.7)


def _no_clipping(made: Made) -> None:
    made.config["optimizer"]["clip_grad_norm"] = 0.0
    made.spoil(1_000, 1_000, grad_norm_max=40.0)


def _hot_rate(made: Made) -> None:
    made.spoil(0, 60, update_ratio=0.4)
    made.spoil(60, attention_logit_max=900.0, activation_rms_last=2_000.0)


def _sgd(made: Made) -> None:
    made.config["optimizer"]["kind"] = "sgd"
    made.spoil(0, loss_mean=lambda loss: 9.5 + loss / 100, loss=9.6, loss_max=9.8)
    for record in made.validation:
        record["loss"] = 9.6


def _low_rate(made: Made) -> None:
    made.spoil(0, update_ratio=2e-5)


def _nan(made: Made) -> None:
    made.spoil(1_900, loss=math.nan, loss_max=math.nan, loss_mean=math.nan)
    made.events.insert(-1, {"event": "spike", "step": 1_900, "quantity": "nan", "action": "log"})


def _explodes(made: Made) -> None:
    made.spoil(1_500, loss_mean=lambda loss: loss + 3, loss=lambda loss: loss + 3, loss_max=lambda loss: loss + 3)
    for record in made.validation[-3:]:
        record["loss"] += 3


def _gradient(made: Made) -> None:
    made.spoil(1_500, grad_norm=30.0, grad_norm_max=30.0, clipped_share=0.8)


def _flat(made: Made) -> None:
    made.spoil(0, loss_mean=lambda loss: 9.5 + loss / 100, loss=9.6, loss_max=9.8)
    for record in made.validation:
        record["loss"] = 9.6


def _overfit(made: Made) -> None:
    for place, record in enumerate(made.validation[3:]):
        record["loss"] = 3.6 + 0.1 * place


def _oscillates(made: Made) -> None:
    made.spoil(0, loss_jitter=lambda jitter: 10 * jitter)


def _clipped(made: Made) -> None:
    made.spoil(0, clipped_share=1.0)


def _stretch(made: Made) -> None:
    made.spoil(1_200, 1_220, loss_max=7.0, loss_mean=lambda loss: loss + 1.5)


def _other_tokenizer(made: Made) -> None:
    made.config["train"]["init_from"] = "runs/other"


def _blocks(made: Made) -> None:
    for record in made.train:
        shift = 0.6 * math.sin(record["step"] // 60 * 2.4)
        for name in ("loss_mean", "loss_max", "loss"):
            record[name] += shift


def _epochs(made: Made) -> None:
    made.manifest["splits"]["train"]["tokens"] = 40_000_000


def _wide(made: Made) -> None:
    made.train[0]["initial_loss"] = 60.0


def _scale(made: Made) -> None:
    made.spoil(0, loss_scale=65_536.0)
    made.spoil(1_000, loss_scale=1.0)


def _decayed(made: Made) -> None:
    made.config["optimizer"]["weight_decay"] = 1.0
    for record in made.train:
        record["weight_rms_norms"] = math.exp(-record["step"] * 6e-4)


def _wait(made: Made) -> None:
    made.spoil(0, data_wait_share=0.6, mfu_full=0.2, gpu_utilisation_mean=45.0)


def _short_of_work(made: Made) -> None:
    made.spoil(0, mfu_full=0.2)


def _killed(made: Made) -> None:
    del made.events[-1]


def _failed(made: Made) -> None:
    made.events[-1] = {"event": "failed", "step": STEPS, "error": "MachineError: gone"}


def _no_saves(made: Made) -> None:
    made.events[:] = [event for event in made.events if event.get("step", 0) < 600 or event["event"] == "end"]


def _full_disk(made: Made) -> None:
    made.spoil(1_000, disk_free_gb=1.0)


def _save_failed(made: Made) -> None:
    made.events.insert(-1, {"event": "checkpoint_failed", "step": STEPS, "reason": "the disk is full"})


def _copy_failed(made: Made) -> None:
    made.events.insert(-1, {"event": "copy_failed", "step": STEPS, "reason": "no route"})


def _ran_out(made: Made) -> None:
    made.events[-1] = {"event": "failed", "step": STEPS, "error": "OutOfMemoryError: CUDA out of memory. Tried to"}


def _struck(made: Made) -> None:
    made.events.insert(2, {"event": "resume", "step": 500, "micro_batch": 16})


def _checkpoint_gone(made: Made) -> None:
    made.events.insert(3, {"event": "resume", "step": 500, "micro_batch": 16})  # with step 1,000 saved before


def _full_card(made: Made) -> None:
    made.spoil(0, memory_reserved_gb=84.0, memory_card_gb=None)  # then the table of cards knows it


def _set(**values: Any) -> Spoiling:
    return lambda made: made.spoil(0, **values)


SPOILED: dict[str, Spoiling] = {
    "rate_not_as_planned": _schedule,
    "warmup_missing": _no_warmup,
    "batch_too_small": _small_batch,
    "no_clipping": _no_clipping,
    "update_too_large": _hot_rate,
    "sgd_does_not_learn": _sgd,
    "update_too_small": _low_rate,
    "not_a_number": _nan,
    "loss_explodes": _explodes,
    "gradient_explodes": _gradient,
    "loss_does_not_fall": _flat,
    "validation_diverges": _overfit,
    "loss_oscillates": _oscillates,
    "always_clipped": _clipped,
    "data_stretch": _stretch,
    "vocabulary_mismatch": _other_tokenizer,
    "data_not_shuffled": _blocks,
    "data_repeats": _epochs,
    "initial_loss": _wide,
    "loss_scale": _scale,
    "attention_logits": _set(attention_logit_max=600.0),
    "norms_decayed": _decayed,
    "zero_gradients": _set(zero_grad_share=0.7),
    "activations": _set(activation_rms_last=5_000.0),
    "output_logits": _set(logit_max=120.0),
    "data_wait": _wait,
    "stragglers": _set(forward_seconds_slowest=0.12),
    "host_memory": _set(host_memory_percent=98.0),
    "throttled": _set(gpu_ecc_errors=3),
    "low_mfu": _short_of_work,
    "gpu_idle": _set(gpu_utilisation_mean=40.0),
    "gpu_memory": _full_card,
    "slowed_down": lambda made: made.spoil(1_500, tokens_per_second=100_000.0),
    "run_failed": _failed,
    "out_of_memory": _ran_out,
    "run_killed": _struck,
    "checkpoint_lost": _checkpoint_gone,
    "run_silent": _killed,
    "checkpoint_failed": _save_failed,
    "disk_short": _full_disk,
    "checkpoint_overdue": _no_saves,
    "copy_failed": _copy_failed,
}

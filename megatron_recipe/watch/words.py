"""The dashboard's words in English and Chinese, and events as sentences."""

from datetime import datetime
from typing import Any

from megatron_recipe.report.formats import fact, seconds_in_units, visible

ENGLISH = {
    "waiting": "waiting: nothing written yet",
    "starting": "starting",
    "training": "training",
    "silent": "silent for {duration}: killed, hung or in a long save",
    "stopped": "stopped {duration} ago",
    "finished": "finished {duration} ago",
    "step": "step {step} of {steps}",
    "step_alone": "step {step}",
    "tokens": "{tokens} tokens",
    "left": "{duration} left",
    "took": "{duration} of training",
    "loss": "loss",
    "learning_rate": "LR",
    "grad_norm": "grad norm",
    "loss_scale": "loss scale",
    "tokens_per_second_per_gpu": "tokens/s/GPU",
    "tokens_per_second": "tokens/s",
    "tflops_per_gpu": "TFLOP/s",
    "mfu_full": "MFU full",
    "mfu_causal": "MFU causal",
    "memory_gb": "memory",
    "gpu_utilisation_mean": "GPU use",
    "gpu_power_watts": "GPU power",
    "gpu_temperature_max": "GPU temp.",
    "joules_per_token": "per token",
    "gpu_throttle": "throttled",
    "gpu_ecc_errors": "ECC errors",
    "cost": "cost",
    "budget_left": "unspent",
    "data_wait_seconds": "data wait",
    "straggler_ratio": "slowest",
    "host_memory_used_gb": "host mem.",
    "disk_free_gb": "disk free",
    "step_seconds": "per step",
    "held_out": "held-out",
    "the_mix": "mix",
    "at_step": "at step {step}",
    "best": "best {loss} at step {step}",
    "reference": "reference",
    "inside": "of {records} records in the band ({usual}% are usual)",
    "lately.inside": "inside lately",
    "lately.above": "lately above it",
    "lately.below": "lately below it",
    "other_text": "(made on other text)",
    "benchmarks": "benchmarks",
    "scores_at": "step {step} (chance)",
    "not_yet": "none yet",
    "checkpoints": "checkpoints",
    "events": "events",
    "kind.best": "best",
    "kind.milestone": "milestone",
    "weights_only": "weights only",
    "checksums": "checksums",
    "no_checksums": "no checksums",
    "damaged": "DAMAGED: {reason}",
    "blocked": "{seconds} s, blocked {blocked} s",
    "validation_loss": "loss {loss}",
    "curve.loss": "loss",
    "curve.learning_rate": "learning rate",
    "curve.tokens_per_second": "tokens/s",
    "hint": "Ctrl-C ends watching, not the run",
    "mark.spike": "! spike",
    "mark.rollback": "< rollback",
    "mark.update_skipped": "x skipped",
    "mark.resume": "| resume",
    "unit.days": "{number} d",
    "unit.hours": "{number} h",
    "unit.minutes": "{number} min",
    "unit.seconds": "{number} s",
    "quantity.loss": "loss",
    "quantity.grad_norm": "gradient norm",
    "event.nan": "loss or gradient is {value} at step {step}: {action}",
    "action.log": "only noted",
    "action.skip": "update left out",
    "action.rollback": "going back",
    "action.stop": "stopping",
    "event.start": "started on {world_size} process(es)",
    "event.resume": "continued after step {step}",
    "event.stopped": "stopped at step {step} {reason}",
    "event.end": "finished at step {step}",
    "event.checkpoint_failed": "checkpoint of step {step} failed: {reason}",
    "event.run_copied": "copied to {place} at step {step}",
    "event.copy_failed": "copy to {place} failed: {reason}",
    "event.checkpoint_damaged": "checkpoint {folder} is damaged: {reason}",
    "event.update_skipped": "update of step {step} left out: {reason} {value}",
    "event.spike": "{quantity} {value} at step {step}, {deviations} deviations above {median}: {action}",
    "event.rollback": "back from step {from_step} to {to_step}, samples {skipped_first} to {skipped_stop} left out, "
    "attempt {attempt}",
    "event.diagnosis": "diagnosis at step {step}: {message}",
    "event.budget_warning": "{spent} of {amount} {unit} are spent",
    "event.decay_started": "the learning rate's decay began at step {step}",
    "event.out_of_memory": "micro-batch {micro_batch} did not fit, next {next}",
    "event.straggler": "rank {rank} takes {ratio_to_median} times the median",
    "event.skip_samples": "samples {first} to {stop} are left out",
    "event.logger_failed": "{logger} failed: {reason}",
    "event.evaluation_failed": "no benchmark scores of step {step}: {reason}",
}
CHINESE = {
    "waiting": "等待：还没有写下任何内容",
    "starting": "正在启动",
    "training": "训练中",
    "silent": "已 {duration}没有动静：被杀、卡住或正在长时间保存",
    "stopped": "{duration}前停止",
    "finished": "{duration}前完成",
    "step": "第 {step} 步，共 {steps} 步",
    "step_alone": "第 {step} 步",
    "tokens": "{tokens} token",
    "left": "剩余 {duration}",
    "took": "训练用时 {duration}",
    "loss": "损失",
    "learning_rate": "学习率",
    "grad_norm": "梯度范数",
    "loss_scale": "损失缩放",
    "tokens_per_second_per_gpu": "token/秒/GPU",
    "tokens_per_second": "token/秒",
    "tflops_per_gpu": "TFLOP/s",
    "mfu_full": "MFU 全",
    "mfu_causal": "MFU 因果",
    "memory_gb": "显存",
    "gpu_utilisation_mean": "GPU 利用率",
    "gpu_power_watts": "功率",
    "gpu_temperature_max": "温度",
    "joules_per_token": "每 token",
    "gpu_throttle": "降频",
    "gpu_ecc_errors": "ECC 错误",
    "cost": "花费",
    "budget_left": "预算剩余",
    "data_wait_seconds": "等数据",
    "straggler_ratio": "最慢进程",
    "host_memory_used_gb": "主机内存",
    "disk_free_gb": "磁盘剩余",
    "step_seconds": "每步",
    "held_out": "留出集",
    "the_mix": "混合",
    "at_step": "第 {step} 步",
    "best": "最好 {loss}（第 {step} 步）",
    "reference": "参考",
    "inside": "的记录（共 {records} 条）落在带内（通常 {usual}%）",
    "lately.inside": "近来在带内",
    "lately.above": "近来在带上方",
    "lately.below": "近来在带下方",
    "other_text": "（参考用的是别的文本）",
    "benchmarks": "基准",
    "scores_at": "第 {step} 步（随机）",
    "not_yet": "还没有",
    "checkpoints": "检查点",
    "events": "事件",
    "kind.best": "最好",
    "kind.milestone": "里程碑",
    "weights_only": "仅权重",
    "checksums": "有校验和",
    "no_checksums": "无校验和",
    "damaged": "已损坏：{reason}",
    "blocked": "{seconds} 秒，阻塞 {blocked} 秒",
    "validation_loss": "损失 {loss}",
    "curve.loss": "损失",
    "curve.learning_rate": "学习率",
    "curve.tokens_per_second": "token/秒",
    "hint": "Ctrl-C 结束观看，不影响训练",
    "mark.spike": "! 尖峰",
    "mark.rollback": "< 回滚",
    "mark.update_skipped": "x 跳过更新",
    "mark.resume": "| 恢复",
    "unit.days": "{number} 天",
    "unit.hours": "{number} 小时",
    "unit.minutes": "{number} 分",
    "unit.seconds": "{number} 秒",
    "quantity.loss": "损失",
    "quantity.grad_norm": "梯度范数",
    "event.nan": "第 {step} 步损失或梯度为 {value}：{action}",
    "action.log": "仅记录",
    "action.skip": "跳过更新",
    "action.rollback": "回滚",
    "action.stop": "停止",
    "event.start": "开始，{world_size} 个进程",
    "event.resume": "从第 {step} 步之后继续",
    "event.stopped": "在第 {step} 步停止 {reason}",
    "event.end": "在第 {step} 步完成",
    "event.checkpoint_failed": "第 {step} 步的检查点保存失败：{reason}",
    "event.run_copied": "第 {step} 步已复制到 {place}",
    "event.copy_failed": "复制到 {place} 失败：{reason}",
    "event.checkpoint_damaged": "检查点 {folder} 已损坏：{reason}",
    "event.update_skipped": "第 {step} 步未更新：{reason} {value}",
    "event.spike": "第 {step} 步 {quantity} {value}，高出中位数 {median} 达 {deviations} 个偏差：{action}",
    "event.rollback": "从第 {from_step} 步退回第 {to_step} 步，跳过样本 {skipped_first} 到 {skipped_stop}，"
    "第 {attempt} 次",
    "event.diagnosis": "第 {step} 步诊断：{message}",
    "event.budget_warning": "已花费 {spent}，预算 {amount} {unit}",
    "event.decay_started": "第 {step} 步开始降低学习率",
    "event.out_of_memory": "微批 {micro_batch} 放不下，改用 {next}",
    "event.straggler": "第 {rank} 号进程用时是中位数的 {ratio_to_median} 倍",
    "event.skip_samples": "跳过样本 {first} 到 {stop}",
    "event.logger_failed": "{logger} 失败：{reason}",
    "event.evaluation_failed": "第 {step} 步没有基准得分：{reason}",
}
TABLES = {"en": ENGLISH, "zh": CHINESE}


class _Facts(dict[str, str]):
    """An event's facts; one that it lacks shows as nothing."""

    def __missing__(self, key: str) -> str:
        return ""


class Words:
    """The words of one language; calling it with a key and values gives the text."""

    def __init__(self, lang: str) -> None:
        self.table = TABLES[lang]

    def __call__(self, key: str, **values: object) -> str:
        return self.table[key].format(**values)

    def duration(self, seconds: float) -> str:
        """The two largest units of a time; below a minute whole seconds."""
        if seconds < 60:
            return self("unit.seconds", number=f"{seconds:.0f}")
        return " ".join(self(f"unit.{unit}", number=number) for number, unit in seconds_in_units(seconds))

    def event(self, event: dict[str, Any]) -> str:
        """An event as a sentence; one of an unknown kind as its facts."""
        facts = _Facts({name: fact(value) for name, value in event.items() if value is not None})
        kind = "nan" if event.get("event") == "spike" and event.get("quantity") == "nan" else event.get("event")
        sentence = self.table.get(f"event.{kind}")
        if sentence is None:
            others = [f"{name} {text}" for name, text in facts.items() if name not in ("time", "event")]
            return " ".join([facts["event"], *others])
        for name in ("quantity", "action"):
            facts[name] = self.table.get(f"{name}.{facts[name]}", facts[name])
        return " ".join(sentence.format_map(facts).split()).rstrip(":：")


def clock(event: dict[str, Any]) -> str:
    """Day and local time of an event: 11-24 06:12; what is no time stays as it is."""
    written = str(event.get("time") or "")
    try:
        return f"{datetime.fromisoformat(written).astimezone():%m-%d %H:%M}"
    except ValueError:
        return visible(written)[:11]

"""The words of messages, in English and Chinese."""

from collections.abc import Mapping
from typing import Any

TITLES: dict[str, dict[str, str]] = {
    "en": {
        "start": "training starts",
        "resume": "training continues",
        "end": "training is done",
        "stopped": "training was stopped, and can be continued",
        "failed": "training ended with an error",
        "spike": "a spike",
        "rollback": "rolled back to a checkpoint",
        "diagnosis": "training was given up",
        "budget_warning": "most of the budget is spent",
        "checkpoint_failed": "a checkpoint could not be saved",
        "evaluation_failed": "benchmarks could not be scored",
        "checkpoint_damaged": "a checkpoint is damaged",
        "straggler": "a rank is slow",
        "daily": "daily summary",
    },
    "zh": {
        "start": "训练开始",
        "resume": "训练继续",
        "end": "训练完成",
        "stopped": "训练已停止，可以继续",
        "failed": "训练因错误结束",
        "spike": "出现尖峰",
        "rollback": "已回滚到检查点",
        "diagnosis": "训练已放弃",
        "budget_warning": "预算已用去大部分",
        "checkpoint_failed": "检查点未能保存",
        "evaluation_failed": "基准测试未能完成",
        "checkpoint_damaged": "检查点已损坏",
        "straggler": "有一个进程偏慢",
        "daily": "每日摘要",
    },
}
LABELS: dict[str, dict[str, str]] = {
    "en": {
        "world_size": "processes",
        "micro_batch": "micro-batch",
        "seconds": "time",
        "eta_seconds": "time left",
        "mfu_full": "MFU (full)",
        "tokens_per_second": "tokens/s",
        "left_out": "messages of this kind left out since the last",
    },
    "zh": {
        "step": "步",
        "tokens": "token 数",
        "loss": "损失",
        "best_loss": "最佳验证损失",
        "tokens_per_second": "token/秒",
        "mfu_full": "MFU（full）",
        "seconds": "用时",
        "eta_seconds": "剩余时间",
        "cost_so_far": "已花费",
        "spent": "已花费",
        "amount": "预算",
        "unit": "单位",
        "reason": "原因",
        "message": "说明",
        "error": "错误",
        "world_size": "进程数",
        "micro_batch": "微批大小",
        "optimizer": "优化器",
        "layers": "层实现",
        "quantity": "指标",
        "value": "数值",
        "median": "中位数",
        "deviations": "偏离倍数",
        "action": "处理",
        "from_step": "从第几步",
        "to_step": "回到第几步",
        "skipped_first": "跳过的首个样本",
        "skipped_stop": "跳过到样本",
        "attempt": "第几次尝试",
        "rank": "进程编号",
        "forward_seconds": "前向时间（秒）",
        "ratio_to_median": "与中位数之比",
        "records": "连续记录数",
        "folder": "目录",
        "position": "数据位置",
        "left_out": "此前略去的同类消息数",
    },
}


def message_text(run_name: str, event: str, facts: Mapping[str, Any], language: str) -> str:
    """A title and one line for each fact that is known.

    The title begins with `megatron-recipe`, a word that robots which want a keyword can be given.
    """
    labels = LABELS[language]
    colon = "：" if language == "zh" else ": "
    lines = [f"[megatron-recipe] {run_name}{colon}{TITLES[language][event]}"]
    lines += [
        f"{labels.get(name, name.replace('_', ' '))}{colon}{value_text(name, value)}"
        for name, value in facts.items()
        if value is not None
    ]
    return "\n".join(lines)


def value_text(name: str, value: Any) -> str:
    """A value as people read it: times in hours, MFU in per cent, numbers with few digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if name in ("seconds", "eta_seconds"):
        minutes = round(value / 60)
        return f"{minutes // 60}:{minutes % 60:02d} h"
    if name.startswith("mfu_"):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}" if abs(value) >= 1000 else f"{value:.4g}"

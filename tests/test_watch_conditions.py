"""What `watch` shows of a run that was rolled back, and of one whose prices are not all known."""

import json
import math
from pathlib import Path

from test_watch import append, run, seen

from megatron_recipe.watch.run_view import RunView

__all__ = ["run"]  # the fixture


def test_a_rollback_takes_its_validations_back_and_nan_is_shown(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("train: {steps: 100}")
    steps = [{"kind": "train", "step": step, "loss": 3.0} for step in (10, 20, 30)]
    at_20, at_30 = ({"kind": "validation", "step": step, "loss": loss} for step, loss in ((20, 2.5), (30, 1.0)))
    append(tmp_path / "metrics.jsonl", *steps[:2], at_20, steps[2], at_30, {**steps[2], "step": 21})
    view = RunView(tmp_path)
    view.refresh()
    assert view.best_validation == at_20 and view.validations == {"validation": at_20}
    append(tmp_path / "metrics.jsonl", {"kind": "validation", "step": 25, "loss": math.nan})
    assert any("held-out" in line and "nan" in line for line in seen(tmp_path))


def test_dollars_are_no_yuan_and_unpriced_time_is_not_free(run: Path) -> None:
    priced = {"seconds": 3600, "price_per_hour": 2.0, "currency": "usd"}
    (run / "spending.json").write_text(json.dumps({"instances": [priced]}))
    (run / "config.yaml").write_text("{")
    assert "$2.00" in "\n".join(seen(run))
    (run / "spending.json").write_text(json.dumps({"instances": [priced, {**priced, "price_per_hour": 0.0}]}))
    assert "$" not in "\n".join(seen(run))

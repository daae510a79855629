"""How `make test` spreads the tests over its processes: files that share runs stay together, and the longest go first.

A run that is a fixture of the session is made once in each process that asks for it, so the files that ask for the
same one are given to one process; and a long file that begins last would leave the other processes idle at the end.
Files that are not named here follow in their usual order, each as a whole.
"""

from typing import Any

from xdist.scheduler import LoadFileScheduling

LONGEST_FIRST = (
    # two_process_run
    ("trainer/test_faults.py", "trainer/test_resharding.py"),
    # half_run and resumed_run
    (
        "trainer/test_parallel_layouts.py",
        "trainer/test_resume.py",
        "trainer/test_relocation.py",
        "trainer/test_in_loop_evaluation.py",
        "trainer/test_model_readings.py",
        "trainer/test_initial_weights.py",
        "eval/test_models.py",
        "test_cli.py",
    ),
    ("clouds/test_rented_run.py",),
    # runs, and their exports
    (
        "checkpoints_tools/test_compare_logits.py",
        "checkpoints_tools/test_convert_cli.py",
        "checkpoints_tools/test_to_hf.py",
        "checkpoints_tools/test_comparison_text.py",
        "checkpoints_tools/test_megatron_checkpoint.py",
        "checkpoints_tools/test_damaged_exports.py",
        "checkpoints_tools/test_average.py",
    ),
    ("trainer/test_phases.py",),
    ("trainer/test_accidents.py",),
    ("trainer/test_budget_run.py",),
    ("data_prep/test_executors.py",),
    ("test_demo.py",),
    ("checkpoints_tools/test_init_from.py",),
    ("checkpoints_tools/test_families.py", "checkpoints_tools/test_planted_mistakes.py"),
    ("data_prep/test_interruptions.py",),
    ("lab/test_lab_compare.py",),
    ("trainer/test_watched_run.py",),
    ("trainer/test_launch.py",),
    ("trainer/test_overlap.py",),
    ("test_setup.py",),
    ("report/test_page_conditions.py",),
    ("data_prep/report/test_conditions.py",),
)
PLACE_OF = {f"tests/{file}": place for place, files in enumerate(LONGEST_FIRST) for file in files}
"""Place in the tuple above, of each file."""


def place(nodeid: str) -> int:
    """Where a test's file stands in the order; those that are not named come last."""
    return PLACE_OF.get(nodeid.partition("::")[0], len(LONGEST_FIRST))


class Spread(LoadFileScheduling):
    """Gives each process one group of files at a time, in the order in which their tests were collected."""

    def __init__(self, config: Any, log: Any = None) -> None:
        config.option.loadscopereorder = False  # xdist's own order: files of many tests first, which are quick ones
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return str(PLACE_OF.get(file, file))

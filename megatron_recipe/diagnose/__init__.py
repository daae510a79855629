"""What is wrong with a run, most likely first. Run: megatron-recipe diagnose runs/<name> [--lang zh] [--json]

It reads the run folder and nothing else, in a moment, while the run goes on or after it. Importing this package costs
nothing.
"""

from pathlib import Path

from megatron_recipe.languages import require_language


def diagnose_command(run: Path, lang: str, *, as_json: bool) -> int:
    """What `megatron-recipe diagnose` does; returns its exit code: 0 healthy, 1 something is wrong.

    Raises:
        ConfigError: an unknown language.
        DataError: `run` is no run folder.
    """
    require_language(lang)
    import json

    from megatron_recipe.diagnose.criteria import judge
    from megatron_recipe.diagnose.output import as_values, exit_code, print_results
    from megatron_recipe.diagnose.reading import read_facts
    from megatron_recipe.diagnose.signals import Signals

    signals = Signals(read_facts(run))
    results = judge(signals)
    if as_json:
        print(json.dumps(as_values(signals, results, lang), ensure_ascii=False, indent=1))
    else:
        print_results(signals, results, lang)
    return exit_code(results)

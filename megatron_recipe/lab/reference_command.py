"""The command `lab reference`: make a reference curve of finished runs."""

from collections.abc import Sequence
from pathlib import Path

from megatron_recipe import console
from megatron_recipe.errors import ConfigError


def reference_command(runs: Sequence[Path], out: Path, name: str | None, *, dry_run: bool) -> None:
    """Read the runs, check that they differ in their seeds alone, and write the reference to `out`.

    Raises:
        ConfigError: `out` is no .json file, or the runs don't go together.
        DataError: a run that is not finished, or has too few records.
    """
    if out.suffix != ".json":
        raise ConfigError(f"--out {out}: must end in .json, by which `watch --reference` knows a file; try {out}.json")
    from megatron_recipe.references import write_reference
    from megatron_recipe.references.make import make_reference

    reference = make_reference(runs, name or out.stem)
    middle = [high - low for low, high in zip(reference.low, reference.high, strict=True)][len(reference.steps) // 2]
    console.say(
        f"reference {reference.name}: {reference.recipe}"
        f"{''.join(f', {field}={value}' for field, value in reference.overrides.items())}; seeds "
        f"{', '.join(map(str, reference.seeds))}; {reference.tokens[-1]:,} tokens; loss {reference.median[0]:.3f} → "
        f"{reference.median[-1]:.3f}; the band is {middle:.3f} nats high in the middle of the run"
    )
    if dry_run:
        console.say(f"would write {out}")
        return
    write_reference(reference, out)
    console.say(
        f"reference: {out} ({out.stat().st_size / 1e3:,.0f} kB); see a run in it: "
        f"megatron-recipe watch RUN --reference {out}"
    )

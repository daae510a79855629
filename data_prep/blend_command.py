"""The command `data blend`: from its arguments to a table and a file."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.blend import MANY_EPOCHS, Part, blend, read_parts, write_blend
from megatron_recipe import console
from megatron_recipe.errors import ConfigError


def blend_command(
    datasets: Sequence[Path], weights: Sequence[str], alpha: float, total_tokens: float | None, out: Path | None
) -> None:
    """Show the mix, warn of datasets that would be repeated too often, and write it unless `out` is None."""
    if total_tokens is not None and not 1 <= total_tokens < math.inf:
        raise ConfigError(f"--total-tokens {total_tokens:g}: must be 1 or more; for example 20e9")
    shares = [_share(text) for text in weights]
    for name, number in Counter(name for name, _ in shares).items():
        if number > 1:
            raise ConfigError(f"--weight {name}=… stands {number} times; give it once")
    parts = blend(read_parts(datasets), dict(shares), alpha)
    total = int(total_tokens or sum(part.tokens for part in parts))
    for line in table(parts, total):
        print(line)
    for part in parts:
        if part.epochs(total) > MANY_EPOCHS:
            console.warn(
                f"{part.path} would be read {part.epochs(total):.1f} times; beyond {MANY_EPOCHS:g} epochs repeated "
                "text teaches little (arXiv 2305.16264): lower its weight or find more of it"
            )
    if out:
        write_blend(parts, out)
        console.say(f"{out}: megatron-recipe train RECIPE --set data.datasets={out}")


def _share(text: str) -> tuple[str, float]:
    name, equals, share = text.rpartition("=")
    try:
        if name and equals:
            return name, float(share)
    except ValueError:
        pass
    raise ConfigError(f"--weight {text}: write it as NAME=SHARE, for example code=0.2")


def table(parts: Sequence[Part], total_tokens: int) -> Iterator[str]:
    """One line a dataset: its tokens, its weight, the tokens drawn from it, and how often that reads it."""
    width = max(len("dataset"), *(len(str(part.path)) for part in parts))
    yield f"{'dataset':<{width}}  {'category':<14}{'tokens':>16}{'weight':>10}{'drawn':>16}{'epochs':>8}"
    for part in parts:
        drawn = round(part.weight * total_tokens)
        yield (
            f"{part.path!s:<{width}}  {part.category[:13]:<14}{part.tokens:>16,}{part.weight:>10.4f}{drawn:>16,}"
            f"{part.epochs(total_tokens):>8.2f}"
        )
    tokens = sum(part.tokens for part in parts)
    yield f"{'all':<{width}}  {'':<14}{tokens:>16,}{sum(p.weight for p in parts):>10.4f}{total_tokens:>16,}"

"""Environment variables that a rented machine is given: by name, so that a secret's value stands in no command line."""

from collections.abc import Mapping, Sequence

from megatron_recipe.clouds.secrets import HIDDEN, is_secret_name
from megatron_recipe.errors import ConfigError


def environment_for(wanted: Sequence[str], here: Mapping[str, str]) -> dict[str, str]:
    """The variables of `--env NAME` (with their value here) and `--env NAME=VALUE`.

    Raises ConfigError for one that is not set here, and for a secret's value on the command line.
    """
    found = {}
    for one in wanted:
        name, equals, value = one.partition("=")
        if not name.isidentifier():
            raise ConfigError(f"--env {name}: write NAME, to pass its value on, or NAME=VALUE")
        if equals and is_secret_name(name):
            raise ConfigError(
                f"--env {name}=…: everyone on this machine can read a command line; export {name}=…, and write "
                f"--env {name}"
            )
        if not equals and name not in here:
            raise ConfigError(f"--env {name}: not set here; export {name}=…, or write --env {name}=VALUE")
        found[name] = value if equals else here[name]
    return found


def shown(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` for a person to read."""
    return {name: HIDDEN if is_secret_name(name) else value for name, value in environment.items()}

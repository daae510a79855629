"""Keys of cloud services: read from the environment or from a file that only its owner reads, and never shown.

`NAME` holds a key, or `NAME_FILE` the path of a file with it. Neither a command line nor a recipe can: both are seen
by others.
"""

import re
import stat
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from megatron_recipe.errors import ConfigError

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|WEBHOOK|HEARTBEAT", re.IGNORECASE)
NOT_SECRET = re.compile(r"_FILE$|^SSH_|PUBLIC_KEY", re.IGNORECASE)
SHORTEST = 6
"""Values below this length would be found everywhere in a text, and protect nothing."""
HIDDEN = "[hidden]"


@dataclass(frozen=True)
class Secret:
    """A key that no print, log or error shows by mistake; `reveal` is for the request alone."""

    name: str
    _value: str = field(repr=False)

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def __str__(self) -> str:
        return HIDDEN


def read_secret(name: str, environment: Mapping[str, str], how_to_get: str) -> Secret:
    """The key in the variable `name`, or in the file that `name`_FILE names.

    Raises ConfigError where there is none, or where others can read the file.
    """
    value = environment.get(name, "").strip()
    file = environment.get(f"{name}_FILE", "").strip()
    if not value and file:
        path = Path(file).expanduser()
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            value = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{name}_FILE={file}: cannot be read ({type(error).__name__}); {how_to_get}") from error
        if mode & 0o077:
            raise ConfigError(f"{name}_FILE={file} has mode {mode:o}, and others could read the key; chmod 600 {file}")
    if not value:
        raise ConfigError(f"no key in {name}, nor in a file named by {name}_FILE; {how_to_get}")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(f"{name} holds spaces or characters that no key has; copy the key again")
    return Secret(name, value)


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds something that must not be shown."""
    return bool(SECRET_NAME.search(name)) and not NOT_SECRET.search(name)


def redact(text: str, environment: Mapping[str, str], *more: Secret) -> str:
    """`text` without the values of variables that hold secrets, nor those of `more`, also where they are encoded."""
    values = {value.strip() for name, value in environment.items() if is_secret_name(name)}
    values |= {secret.reveal() for secret in more}
    # longest first: one may begin with another
    for value in sorted((v for v in values if len(v) >= SHORTEST), key=len, reverse=True):
        for form in (value, quote(value, safe=""), b64encode(value.encode()).decode().rstrip("=")):
            text = text.replace(form, HIDDEN)
    return text

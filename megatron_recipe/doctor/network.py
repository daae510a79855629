"""What the machine reaches, and the keys and addresses that are set. None of them is ever printed."""

import netrc
import os
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from megatron_recipe.doctor.check import Check, judge

ANSWER_SECONDS = 2.0
MIRROR = "https://hf-mirror.com"
HUB = "https://huggingface.co"
WANDB = "https://api.wandb.ai"
SKEW_SECONDS = 60.0


def answer_date(address: str) -> float | None:
    """Unix time that a server gives in its answer (now where it gives none); None where it does not answer in time.

    An answer of any kind counts, also a refusal: the question is whether the machine gets that far.
    """
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, method="HEAD"), timeout=ANSWER_SECONDS
        ) as answer:  # honours HTTPS_PROXY
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as refusal:
        date = refusal.headers.get("Date")
    except (OSError, ValueError):
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return time.time()


def check_hub() -> Check:
    """Where `data download` fetches from: HF_ENDPOINT, or the hub and its mirror."""
    chosen = os.environ.get("HF_ENDPOINT")
    addresses = [chosen] if chosen else [HUB, MIRROR]
    reached = [address for address in addresses if answer_date(address) is not None]
    names = ", ".join(urlsplit(address).hostname or "HF_ENDPOINT" for address in (reached or addresses))
    if reached and (chosen or HUB in reached):
        return Check("data hub", "ok", f"{names} answers")
    if reached:
        fix = "the hub itself does not: export HF_ENDPOINT=https://hf-mirror.com, or --mirror hf-mirror"
        return Check("data hub", "warn", f"only {names} answers", fix)
    fix = (
        "downloads and hub exports will not work here: AutoDL has `source /etc/network_turbo`, others a proxy "
        "(HTTPS_PROXY) or HF_ENDPOINT; text and datasets that are here already need no network"
    )
    return Check("data hub", "warn", f"{names}: no answer within {ANSWER_SECONDS:g} s", fix)


def wandb_has_key() -> bool:
    """Whether W&B's client finds a key: in the environment, or for its host in ~/.netrc."""
    address = os.environ.get("WANDB_BASE_URL") or WANDB
    return bool(os.environ.get("WANDB_API_KEY")) or _netrc_has(urlsplit(address).hostname or "")


def check_wandb() -> Check:
    """Whether W&B answers, and whether it has a key."""
    address = os.environ.get("WANDB_BASE_URL") or WANDB
    has_key = wandb_has_key()
    answers = answer_date(address) is not None
    found = f"{'answers' if answers else 'does not answer'}, {'a key is set' if has_key else 'no key is set'}"
    if not has_key:
        return Check("W&B", "ok", f"{found} (needed for logging.wandb=online alone)")
    fix = "logging.wandb=online becomes offline here: `wandb sync` the folder later, or set HTTPS_PROXY"
    return judge("W&B", found, warn_if=not answers, fix=fix)


def check_messages() -> Check:
    """Addresses of the webhook and the heartbeat, and whether they can be addresses."""
    names = {"webhook": "MEGATRON_RECIPE_WEBHOOK", "heartbeat": "MEGATRON_RECIPE_HEARTBEAT"}
    addresses = {what: os.environ.get(name, "").strip() for what, name in names.items()}
    wrong = [names[what] for what, address in addresses.items() if address and not _is_address(address)]
    found = ", ".join(f"{what} {'set' if address else 'not set'}" for what, address in addresses.items())
    fix = f"{' and '.join(wrong)} must begin with https:// and name a host"
    return judge("messages", found, warn_if=bool(wrong), fix=fix)


def check_clock() -> Check:
    """The clock against that of a server: tokens of services and times in logs are wrong where it is."""
    for address in (os.environ.get("HF_ENDPOINT") or HUB, MIRROR):
        date = answer_date(address)
        if date is not None:
            skew = time.time() - date
            fix = "set it: timedatectl set-ntp true, or ask the platform; services refuse keys signed at another time"
            found = f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
            return judge("clock", found, warn_if=abs(skew) > SKEW_SECONDS, fix=fix)
    return Check("clock", "ok", f"not compared, no server answers; {time.strftime('%Y-%m-%d %H:%M:%S %Z')}")


def _netrc_has(host: str) -> bool:
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _is_address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("https", "http") and bool(parts.hostname)

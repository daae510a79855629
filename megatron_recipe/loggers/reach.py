"""Whether a service answers, known within a fixed time."""

import threading


def unreachable(address: str, seconds: float) -> str | None:
    """Why no HTTP answer, of whatever status, comes from `address` within `seconds`; None where one comes.

    In a thread: looking a name up has no time-out of its own, and behind a broken resolver it takes half a minute.
    """
    import httpx2

    reasons: list[str | None] = []

    def ask() -> None:
        try:
            httpx2.head(address, timeout=seconds)
        except httpx2.HTTPError as error:
            reasons.append(f"{address}: {error or type(error).__name__}")
        else:
            reasons.append(None)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return reasons[0] if reasons else f"{address}: no answer in {seconds:.0f} s"

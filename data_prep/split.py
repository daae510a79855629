"""Which documents are held out: decided by a hash of the document's id, so that it needs no list and no order.

The decision is made after duplicates are removed, so that no held-out document has a near copy in the training split.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MIN_VALIDATION_BYTES = 200_000
"""Less held-out text gives losses that differ between equal models; small corpora hold out a larger share for it."""
MAX_SHARE_FOR_MINIMUM = 0.1


def effective_share(validation_share: float, total_bytes: int) -> float:
    """The share to hold out: `validation_share`, or what MIN_VALIDATION_BYTES takes, but for that at most a tenth."""
    needed = min(MIN_VALIDATION_BYTES / max(total_bytes, 1), MAX_SHARE_FOR_MINIMUM)
    return max(validation_share, needed)


def is_held_out(document_id: str, share: float, seed: int) -> bool:
    """True for a share of all ids, the same ones for the same seed."""
    digest = hashlib.blake2b(f"{seed}\0{document_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64


def held_out(document_ids: Sequence[str], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """`is_held_out` for many ids, twice as fast."""
    prefix, blake2b = f"{seed}\0", hashlib.blake2b
    digests = [blake2b((prefix + i).encode("utf-8", "surrogatepass"), digest_size=8).digest() for i in document_ids]
    numbers = np.frombuffer(b"".join(digests), dtype="<u8")
    limit = math.ceil(share * 2**64)  # as an integer: numpy would round the hashes to compare them with a float
    return numbers < np.uint64(limit) if limit < 2**64 else np.ones(len(numbers), dtype=bool)

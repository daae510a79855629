"""Texts for tests: fixed sentences, and documents of their own made from a seed."""

import random

ENGLISH = (
    "The committee discussed the annual report before lunch. Several members asked how the money had been spent, "
    "and whether the river could be cleaned next year. Nobody answered quickly, because the figures were old."
)
CHINESE = (
    "委员会在午饭前讨论了年度报告。几位委员询问钱是怎么花的，明年河流能否得到治理。没有人马上回答，因为数字已经过时了。"
)


def make_document(seed: int, language: str = "en", sentences: int = 6) -> str:
    """Text of its own: words or characters drawn at random, in sentences."""
    generator = random.Random(f"{language}{seed}")
    if language == "zh":
        return "".join(
            "".join(chr(generator.randrange(0x4E00, 0x4E00 + 400)) for _ in range(generator.randrange(8, 20))) + "。"
            for _ in range(sentences)
        )
    words = ["".join(generator.choices("etaoinshrdlucmf", k=generator.randrange(2, 9))) for _ in range(200)]
    return "\n".join(
        " ".join(generator.choices(words, k=generator.randrange(6, 14))).capitalize() + "." for _ in range(sentences)
    )

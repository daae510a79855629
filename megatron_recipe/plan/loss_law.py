"""What loss a model of a size ends at after so many tokens: indicative only.

L(N, D) = E + A / N^α + B / D^β with N parameters and D tokens, in nats a token. The constants were fitted to models
trained on MassiveText with its tokenizer of 32,000 pieces: another corpus or tokenizer moves all of it by tenths of a
nat. What holds better is the difference between two plans.
"""

from dataclasses import dataclass

CHINCHILLA_TOKENS_PER_PARAMETER = 20
"""What is best for a fixed amount of computing (Hoffmann et al.); more tokens make a better model for its size."""


@dataclass(frozen=True)
class LossLaw:
    """One published fit."""

    source: str
    irreducible: float
    parameter_factor: float
    parameter_exponent: float
    token_factor: float
    token_exponent: float

    def loss(self, parameters: float, tokens: float) -> float:
        """Nats a token."""
        of_size = self.parameter_factor / parameters**self.parameter_exponent
        return self.irreducible + of_size + self.token_factor / tokens**self.token_exponent


LAWS = (
    LossLaw("Hoffmann et al. 2022 (arXiv:2203.15556)", 1.69, 406.4, 0.34, 410.7, 0.28),
    LossLaw("Besiroglu et al. 2024 (arXiv:2404.10102)", 1.8172, 482.01, 0.3478, 2085.43, 0.3658),
)

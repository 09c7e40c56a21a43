"""What learning a router is told. Needs neither Ray nor torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rayraft.config import Config


class RouterTrainConfig(Config):
    """One router."""

    quality: Literal["token_f1", "exact_match"] = "token_f1"
    """What of the evaluation counts as quality."""
    draft: bool | None = None
    """Whether a closed-book draft is written before the choice, for its confidence; None: if it is
    worth its tokens."""
    draft_mu: float = Field(default=0.1, ge=0)
    """With `draft: null`: quality that a draft must add for the cost of the dearest arm."""
    folds: int = Field(default=5, ge=2, le=20)
    """Parts of the questions; each is forecast by models fitted on the others."""
    repeats: int = Field(default=4, ge=1, le=50)
    """The report's cross-fitting is repeated with other parts, and its figures are the means: with
    few questions one split says little."""
    strengths: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)
    """Inverse regularisation tried for each arm, by scikit-learn's meaning of `C`."""
    balanced_loss: float = Field(default=0.0075, ge=0, le=1)
    """Quality that level `balanced` may give up for cost, in cross-fitting."""
    cheap_loss: float = Field(default=0.05, ge=0, le=1)
    """The same of level `cheap`."""
    min_questions: int = Field(default=50, ge=20)
    """Fewer say too little to learn from."""
    seed: int = Field(default=0, ge=0)
    """Of the folds and the bootstrap."""

    @model_validator(mode="after")
    def _strengths_are_positive(self) -> Self:
        if not self.strengths or min(self.strengths) <= 0:
            raise ValueError(f"strengths={self.strengths}: must be positive, at least one")
        if self.cheap_loss < self.balanced_loss:
            raise ValueError(
                f"cheap_loss={self.cheap_loss:g} is below balanced_loss={self.balanced_loss:g}"
            )
        return self

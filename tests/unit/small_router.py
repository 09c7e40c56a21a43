"""A learned router of one feature: memory where the cosine is low, reading where it is high."""

from rayraft.learned_router import ArmModel, FeatureScale, LearnedRouter, Level


def router(**changes):
    values = {
        "base_digest": "b",
        "prompt_digest": "p",
        "adapter": None,
        "kb_version": 1,
        "k": 4,
        "draft": False,
        "features": [FeatureScale(name="top_cosine", low=0, high=1, mean=0.5, deviation=0.25)],
        "arms": [
            ArmModel(label="closed_book", intercept=0, weights=[-1.0], quality=0.4, cost=0.1),
            ArmModel(label="rag", intercept=0, weights=[1.0], quality=0.6, cost=1.0),
        ],
        "levels": {
            "quality": Level(mu=0, margin=0),
            "balanced": Level(mu=0.2, margin=0),
            "cheap": Level(mu=1, margin=0),
        },
    }
    return LearnedRouter(**{**values, **changes})

"""Measures against trec_eval, Google's ROUGE and scikit-learn, which are slow to import."""

import random

import pytest

from rayraft.metrics import ndcg_at_k, recall_at_k, score_abstention
from train.compare.measures import reciprocal_rank, rouge_l

WORDS = "the a cat dog sat on mat 24 months' Warranty-period of two years, is"


def sentence(rng):
    return " ".join(rng.choices(WORDS.split(" "), k=rng.randint(1, 14)))


def test_rouge_l_is_googles():
    from rouge_score.rouge_scorer import RougeScorer

    scorer, rng = RougeScorer(["rougeL"]), random.Random(0)
    for _ in range(300):
        said, right = sentence(rng), sentence(rng)
        expected = scorer.score(right, said)["rougeL"].fmeasure
        assert rouge_l(said, [right]) == pytest.approx(expected)


def test_ranking_measures_are_those_of_trec_eval():
    import ir_measures
    from ir_measures import RR, R, nDCG

    rng = random.Random(1)
    ids = [f"d{i}" for i in range(30)]
    gold = {f"q{i}": rng.sample(ids, rng.randint(1, 4)) for i in range(60)}
    runs = {q: rng.sample(ids, 10) for q in gold}
    qrels = {q: {d: 1 for d in own} for q, own in gold.items()}
    scored = {q: {d: 1.0 - i / 10 for i, d in enumerate(own)} for q, own in runs.items()}
    for found in ir_measures.iter_calc([nDCG @ 10, RR @ 10, R @ 4], qrels, scored):
        ours = {
            "nDCG@10": ndcg_at_k(runs[found.query_id], gold[found.query_id], 10),
            "RR@10": reciprocal_rank(runs[found.query_id], gold[found.query_id]),
            "R@4": recall_at_k(runs[found.query_id], gold[found.query_id], 4),
        }
        assert ours[str(found.measure)] == pytest.approx(found.value)


def test_abstention_is_scikit_learns_precision_recall_and_f1():
    from sklearn.metrics import precision_recall_fscore_support

    rng = random.Random(2)
    for _ in range(100):
        said = [rng.random() < 0.4 for _ in range(30)]
        is_so = [rng.random() < 0.3 for _ in range(30)]
        if not any(said) or not any(is_so):
            continue
        expected = precision_recall_fscore_support(is_so, said, average="binary")[:3]
        found = score_abstention(said, is_so)
        assert (found.precision, found.recall, found.f1) == pytest.approx(expected)

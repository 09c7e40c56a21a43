"""Rows of different length in batches with little padding; for the embedder and the text model."""

from collections.abc import Iterator, Mapping, Sequence


def length_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Row numbers in batches of similar length with at most `batch_tokens` padded tokens each.

    Longest first, so that a run's peak memory shows at once. A row longer than the budget is a
    batch of its own.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= batch_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def lane_batches(
    lengths: Sequence[int], lanes: Mapping[int, str | None], batch_tokens: int
) -> Iterator[list[int]]:
    """Batches of numbers of one lane, of similar lengths.

    Args:
        lengths: Tokens of every number.
        lanes: The lane of each wanted number.
        batch_tokens: Padded tokens of a batch.
    """
    by_lane: dict[str | None, list[int]] = {}
    for number, lane in lanes.items():
        by_lane.setdefault(lane, []).append(number)
    for numbers in by_lane.values():
        for batch in length_batches([lengths[n] for n in numbers], batch_tokens):
            yield [numbers[place] for place in batch]

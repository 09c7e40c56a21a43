"""Where the copy head looks, against plain searches."""

import torch

from rayraft.mini.copying import copied_from, match_lengths, written_last


def test_match_lengths_equal_a_plain_count() -> None:
    rng = torch.Generator().manual_seed(0)
    source = torch.randint(0, 3, (2, 9), generator=rng)
    history = torch.randint(0, 3, (2, 6), generator=rng)
    targets, context = 4, 3
    found = match_lengths(written_last(history, targets, context), source)
    for row in range(2):
        for target in range(targets):
            written = history[row, : history.shape[1] - targets + target + 1].tolist()
            for position in range(9):
                before = source[row, :position].tolist()
                length = 0
                while (
                    length < min(context, len(before), len(written))
                    and before[-1 - length] == written[-1 - length]
                ):
                    length += 1
                assert found[row, target, position] == length


def test_a_label_is_copied_from_where_its_phrase_stands() -> None:
    # Rows of one: the phrase 7 8 9 stands once, its tokens also stand elsewhere.
    source = torch.tensor([[8, 9, 5, 7, 8, 9, 9, 5]])
    labels = torch.tensor([[7, 8, 9, 1, 8, 6, 5, -100]])
    found = copied_from(labels, source)[0]
    where = [places.nonzero().flatten().tolist() for places in found]
    # 1 and 6 stand nowhere; the second 8 is taken from the phrase; 5 is in no phrase.
    assert where == [[3], [4], [5], [], [4], [], [2, 7], []]


def test_where_labels_are_copied_from_equals_a_plain_search() -> None:
    rng = torch.Generator().manual_seed(1)
    source = torch.randint(0, 4, (3, 12), generator=rng)
    labels = torch.randint(0, 4, (3, 7), generator=rng)
    found = copied_from(labels, source)
    for row in range(3):
        s, t = source[row].tolist(), labels[row].tolist()

        def run(i: int, j: int, s: list[int] = s, t: list[int] = t) -> int:
            """Length of the longest run of equal tokens through label i and position j."""
            if t[i] != s[j]:
                return 0
            before = next(n for n in range(13) if min(i, j) < n or t[i - n] != s[j - n])
            room = min(len(t) - i, len(s) - j)
            after = next(n for n in range(13) if n >= room or t[i + n] != s[j + n])
            return before + after - 1

        runs = [[run(i, j) for j in range(12)] for i in range(7)]
        longest = max(map(max, runs))
        quoted = {j for j in range(12) if any(r[j] == longest for r in runs)}
        for i in range(7):
            ranks = [(runs[i][j], j in quoted) if runs[i][j] else (-1, False) for j in range(12)]
            expected = [rank == max(ranks) and rank[0] > 0 for rank in ranks]
            assert found[row, i].tolist() == expected

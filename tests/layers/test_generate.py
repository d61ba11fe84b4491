"""Writing token by token, over a table of five tokens in which the next depends on the last two."""

import itertools
import math
from collections import Counter

import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.layers.generate import SamplingConfig, generate, greedy, nucleus, stream

END, VOCABULARY = 1, 5


class Table:
    """Texts whose next token depends on the last two and on the example."""

    def __init__(self, batch=3, seed=0, sharp=1.5):
        self.table = torch.randn(batch, 6, 6, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * sharp
        self.example = torch.arange(batch)
        self.last = torch.full((batch, 2), 5)
        self.logits = self._logits()

    def _logits(self):
        return self.table[self.example, self.last[:, 0], self.last[:, 1]]

    def step(self, ids):
        self.last = torch.stack((self.last[:, 1], ids), 1)
        self.logits = self._logits()
        return self.logits

    def reorder(self, rows):
        self.example, self.last, self.logits = self.example[rows], self.last[rows], self.logits[rows]


def log_probabilities(table, example, ids):
    """Of each token of a text, looked up one by one."""
    last, found = (5, 5), []
    for token in ids:
        found.append(float(table.table[example, last[0], last[1]].log_softmax(0)[token]))
        last = last[1], token
    return found


def all_texts(longest):
    """Every text of at most so many tokens, the end included, without its end."""
    others = [token for token in range(VOCABULARY) if token != END]
    return [text for count in range(longest) for text in itertools.product(others, repeat=count)]


@pytest.mark.parametrize("seed", range(4))
def test_beams_that_hold_everything_find_the_likeliest_text(seed):
    table = Table(seed=seed)
    found = generate(table, 4, (END,), SamplingConfig(beams=4**3))
    table = Table(seed=seed)
    for example, text in enumerate(found):
        scores = {ids: sum(log_probabilities(table, example, (*ids, END))) for ids in all_texts(4)}
        best = max(scores, key=scores.get)
        assert text.ids == best
        assert text.ended
        assert text.score == pytest.approx(scores[best], abs=1e-5)
        assert text.log_probabilities == pytest.approx(log_probabilities(table, example, (*best, END)), abs=1e-5)


def plain_beam_search(table, example, beams, longest, ends=(END,)):
    """The rule, text by text, with no tensor of a batch."""
    live, best = [()], None
    for _ in range(longest):
        for closed in ((*ids, end) for ids in live for end in ends):
            if best is None or sum(log_probabilities(table, example, closed)) > sum(log_probabilities(table, example, best)):
                best = closed
        longer = [(*ids, token) for ids in live for token in range(VOCABULARY) if token not in ends]
        live = sorted(longer, key=lambda ids: -sum(log_probabilities(table, example, ids)))[:beams]
        if max(sum(log_probabilities(table, example, ids)) for ids in live) < sum(log_probabilities(table, example, best)):
            break
    return best[:-1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("beams", [2, 3])
@pytest.mark.parametrize("ends", [(END,), (END, 3), (4, END, 0)])
def test_few_beams_follow_the_rule(seed, beams, ends):
    found = generate(Table(seed=seed), 6, ends, SamplingConfig(beams=beams))
    assert [text.ids for text in found] == [plain_beam_search(Table(seed=seed), i, beams, 6, ends) for i in range(3)]


def test_greedy_takes_the_likeliest_token_until_the_end():
    for seed in range(5):
        table = Table(seed=seed)
        for example, ids in enumerate(greedy(table, 8, (END,))):
            last, wanted = (5, 5), []
            for _ in range(8):
                token = int(Table(seed=seed).table[example, last[0], last[1]].argmax())
                if token == END:
                    break
                wanted.append(token)
                last = last[1], token
            assert ids == wanted
        texts = generate(Table(seed=seed), 8, (END,))
        assert [list(text.ids) for text in texts] == greedy(Table(seed=seed), 8, (END,))
        for example, text in enumerate(texts):
            whole = text.ids + ((END,) if text.ended else ())
            assert text.log_probabilities == pytest.approx(log_probabilities(table, example, whole), abs=1e-5)


def test_rows_end_by_themselves_and_steps_say_so():
    moments = list(stream(Table(seed=3, sharp=3), 8, (END, 0)))
    for row in range(3):
        told = [moment.tokens[row] for moment in moments]
        count = next((i for i, token in enumerate(told) if token in (END, 0)), len(told) - 1) + 1
        assert None not in told[:count]
        assert set(told[count:]) <= {None}
    seen = []
    texts = generate(Table(seed=3, sharp=3), 8, (END, 0), on_step=seen.append)
    assert seen == moments
    assert all(END not in text.ids and 0 not in text.ids for text in texts)


@pytest.mark.parametrize(
    "sampling",
    [SamplingConfig(), SamplingConfig(temperature=1), SamplingConfig(beams=3), SamplingConfig(temperature=1, best_of=3)],
)
def test_forced_beginnings_and_forbidden_tokens(sampling):
    table = Table(seed=1)
    forced = [[3, 3], [], [2]]
    texts = generate(Table(seed=1), 6, (END,), sampling, forced=forced, forbidden=(4, 0))
    for example, (text, begin) in enumerate(zip(texts, forced, strict=True)):
        assert list(text.ids[: len(begin)]) == begin
        assert not {0, 4} & set(text.ids)
        whole = text.ids + ((END,) if text.ended else ())
        # as the model has them, not as if the others were impossible
        assert text.log_probabilities == pytest.approx(log_probabilities(table, example, whole), abs=1e-5)


def test_a_forbidden_end_leaves_the_room_to_bound_a_text():
    texts = generate(Table(sharp=3), 5, (END,), forbidden=(END,))
    assert all(len(text.ids) == 5 and not text.ended for text in texts)


def test_drawn_tokens_have_their_probabilities():
    class Same:
        def __init__(self, rows):
            self.logits = torch.tensor([0.5, 0.2, 0.2, 0.1, 0.0]).log().expand(rows, 5)

        def step(self, ids):
            return self.logits

        def reorder(self, rows):
            self.logits = self.logits[rows]

    def shares(sampling):
        drawn = Counter(text.ids[0] for text in generate(Same(2000), 1, (), sampling))
        return [drawn[token] / 2000 for token in range(5)]

    assert shares(SamplingConfig(temperature=1)) == pytest.approx([0.5, 0.2, 0.2, 0.1, 0], abs=0.04)
    squares = [0.25, 0.04, 0.04, 0.01]
    wanted = [value / sum(squares) for value in squares]
    assert shares(SamplingConfig(temperature=0.5)) == pytest.approx([*wanted, 0], abs=0.04)
    assert shares(SamplingConfig(temperature=1, nucleus=0.6)) == pytest.approx([5 / 9, 2 / 9, 2 / 9, 0, 0], abs=0.04)


def test_what_is_drawn_depends_on_the_seed_and_the_number_of_the_text():
    sampling = SamplingConfig(temperature=1, seed=4)
    first = generate(Table(seed=2), 6, (END,), sampling)
    assert generate(Table(seed=2), 6, (END,), sampling) == first
    alone = Table(seed=2)
    alone.reorder(torch.tensor([2]))
    assert generate(alone, 6, (END,), sampling, numbers=[2])[0].ids == first[2].ids
    others = [generate(Table(seed=2), 6, (END,), SamplingConfig(temperature=1, seed=seed)) for seed in range(5, 9)]
    assert any(other != first for other in others)


def test_the_best_of_several_is_the_likeliest_of_them():
    def scores(sampling):
        return [text.score for text in generate(Table(seed=2), 6, (END,), sampling)]

    few, many = scores(SamplingConfig(temperature=1, best_of=2)), scores(SamplingConfig(temperature=1, best_of=200))
    assert all(b >= a for a, b in zip(few, many, strict=True))
    best = [max(sum(log_probabilities(Table(seed=2), i, (*ids, END))) for ids in all_texts(6)) for i in range(3)]
    assert many == pytest.approx(best, abs=1e-4)


def test_a_nucleus_keeps_ties():
    logits = torch.tensor([[0.4, 0.2, 0.2, 0.1, 0.1]]).log()
    assert (nucleus(logits, 0.5) > -math.inf).tolist() == [[True, True, True, False, False]]
    assert (nucleus(logits, 0.3) > -math.inf).tolist() == [[True, False, False, False, False]]
    assert torch.equal(nucleus(logits, 1.0), logits)


def test_settings_that_do_not_go_together():
    for bad in ({"temperature": -1}, {"nucleus": 0.5}, {"best_of": 2}, {"beams": 0}, {"beams": 2, "temperature": 1}):
        with pytest.raises(BadInput):
            SamplingConfig(**bad)
    with pytest.raises(BadInput, match="on_step"):
        generate(Table(), 3, (END,), SamplingConfig(beams=2), on_step=print)
    with pytest.raises(BadInput, match="forced"):
        generate(Table(), 3, (END,), forced=[[1]])
    with pytest.raises(BadInput, match="every token"):
        generate(Table(), 3, (END,), forbidden=range(5))


def test_nothing_is_computed_after_the_last_token():
    class Counted(Table):
        steps = 0

        def step(self, ids):
            self.steps += 1
            return super().step(ids)

    for most in (8, 2):
        table = Counted(seed=3, sharp=3)
        moments = list(stream(table, most, (END, 0)))
        assert any(token is not None for token in moments[-1].tokens)
        assert table.steps == len(moments) - 1

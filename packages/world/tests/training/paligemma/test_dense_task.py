"""Where things are, written into first weights."""

import torch

from tapetum_world.training.paligemma.dense_task import add_position_waves, location_embeddings


def test_a_place_is_most_like_its_neighbours() -> None:
    rows = location_embeddings(256, 2.0)
    assert rows.shape == (1024, 256)
    torch.testing.assert_close(rows.norm(dim=1), torch.full((1024,), 2.0))
    alike = rows @ rows.T / 4
    assert (alike.argmax(1) == torch.arange(1024)).all()
    for apart, least, most in ((3, 0.95, 1.0), (18, 0.4, 0.7), (100, -0.2, 0.2)):
        found = alike.diagonal(apart)
        assert least < float(found.min())
        assert float(found.max()) < most
    assert torch.equal(rows, location_embeddings(256, 2.0))


def test_columns_and_rows_can_be_read_from_positions_that_a_stem_drowned() -> None:
    torch.manual_seed(1)
    table = torch.randn(49, 256) * 0.02
    seen = torch.randn(64, 49, 256)  # what a stem makes of images
    errors = {}
    for name in ("before", "after"):
        if name == "after":
            add_position_waves(table, (7, 7))
        tokens = (seen + table).flatten(0, 1)
        inputs = torch.cat((tokens, torch.ones(len(tokens), 1)), 1)
        truth = torch.stack((torch.arange(7.0).repeat(7), torch.arange(7.0).repeat_interleave(7)), 1).repeat(64, 1)
        half = len(inputs) // 2
        read = torch.linalg.lstsq(inputs[:half], truth[:half]).solution
        errors[name] = (inputs[half:] @ read - truth[half:]).abs().mean(0)
    assert (errors["before"] > 1.2).all()  # a guess misses by 1.7
    assert (errors["after"] < 0.5).all()

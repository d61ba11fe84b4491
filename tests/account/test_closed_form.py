"""The closed form of single layers, against the other engine on the same layers with memory, and by hand."""

from collections.abc import Callable
from copy import deepcopy
from threading import Event, Thread

import pytest
import torch
from torch import nn

from tapetum.account.closed_form import Product, closed_form
from tapetum.account.flops import by_part, count_flops
from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.decoder import Decoder
from tapetum.layers.transformer import Attention

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(3, 5), (2, 4, 3)),
    "convolution": (lambda: nn.Conv2d(4, 6, 3, 2, 1, groups=2), (2, 4, 7, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, groups=2), (2, 4, 5, 6)),
    "convolution 1d": (lambda: nn.Conv1d(4, 6, 3, dilation=2), (2, 4, 11)),
    "attention": (lambda: Attention(8, 2), (2, 5, 8)),
    "encoder layer": (lambda: nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True), (2, 5, 8)),
}


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("needed", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_cost_what_the_other_engine_counts(name: str, needed: bool, learns: bool) -> None:
    make, shape = LAYERS[name]
    layer = make().train().requires_grad_(learns)
    if not learns and not needed:
        pytest.skip("nothing to learn")
    counted = count_flops(layer, torch.randn(shape, requires_grad=needed))
    said = closed_form(deepcopy(layer).to("meta"), torch.empty(shape, device="meta", requires_grad=needed))
    assert (said.forward, said.backward, said.recomputed) == (counted.forward, counted.backward, counted.recomputed)


@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_product_outside_of_layers_goes_back_to_what_needs_it(first: bool, second: bool) -> None:
    a, b = torch.empty(3, 4, 5, device="meta", requires_grad=first), torch.empty(5, 7, device="meta", requires_grad=second)

    def product() -> torch.Tensor:
        return a @ b

    said = closed_form(product)
    assert said.forward == 2 * 3 * 4 * 5 * 7
    assert said.backward == (first + second) * said.forward


def test_lstm_by_hand() -> None:
    with torch.device("meta"):
        said = closed_form(nn.LSTM(3, 5, batch_first=True), torch.empty(2, 7, 3))
    assert said.forward == 2 * 2 * 7 * 4 * 5 * (3 + 5)


def test_multi_head_attention_by_hand() -> None:
    with torch.device("meta"):
        layer, x, y = nn.MultiheadAttention(8, 2, batch_first=True), torch.empty(3, 5, 8), torch.empty(3, 7, 8)
        said = closed_form(lambda: layer(x, y, y)[0])
    projections, table = 2 * 3 * (5 + 7 + 7 + 5) * 8 * 8, 2 * 3 * 5 * 7 * 8
    assert said.forward == projections + 2 * table
    assert said.backward == 2 * 3 * 8 * 8 * (5 + 7 + 7 + 2 * 5) + 4 * table  # inputs need no gradient


def test_logits_of_a_decoder_are_in_no_layer_and_counted() -> None:
    config = DecoderConfig(
        width=8, depth=1, heads=2, key_value_heads=1, head_width=4, mlp_width=12, vocabulary=50, attention_soft_cap=None
    )
    model = Decoder(config).train()

    def logits(of: Decoder, ids: torch.Tensor) -> torch.Tensor:
        return of.logits(of(of.embed(ids)))

    counted = count_flops(logits, model, torch.zeros(2, 6, dtype=torch.int64))
    said = closed_form(logits, deepcopy(model).to("meta"), torch.zeros(2, 6, dtype=torch.int64, device="meta"))
    assert said.total == counted.total > 6 * 2 * 2 * 6 * 8 * 50 / 2
    assert said.forward == counted.forward


class Own(nn.Module):
    """A layer that nobody knows, with a word of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight

    def own_products(self, args: tuple, kwargs: dict, output: torch.Tensor) -> list[Product]:
        return [Product(2 * args[0].numel() * 4, 1)]


def test_a_layer_may_have_a_rule_and_code_outside_is_seen() -> None:
    with torch.device("meta"):
        layer, rows = Own(), torch.empty(5, 3)

        def run() -> torch.Tensor:
            y = layer(rows)
            return y @ y.T

        assert closed_form(run).forward == 2 * 5 * 3 * 4 + 2 * 5 * 4 * 5
    assert closed_form(layer, rows).backward == 2 * 5 * 3 * 4


def test_a_layer_that_another_thread_calls_meanwhile_is_not_counted() -> None:
    class Slow(Own):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inside.set()
            assert left.wait(30)
            return x

    inside, left = Event(), Event()
    with torch.device("meta"):
        layer, rows, slow = nn.Linear(3, 5), torch.empty(2, 3), Slow()

    def run() -> torch.Tensor:
        thread.start()
        assert inside.wait(30)
        output = layer(rows) @ rows.new_empty(5, 2)
        left.set()
        thread.join()
        return output

    outputs: list[torch.Tensor] = []
    thread = Thread(target=lambda: outputs.append(slow(rows)))
    with by_part({"slow": slow}):
        assert closed_form(run).by_part() == {"loss": 60 + 40, "backward": 60 + 40}
    assert len(outputs) == 1


def test_a_model_with_memory_is_refused() -> None:
    with pytest.raises(BadInput, match="with memory"):
        closed_form(nn.Linear(3, 5), torch.zeros(2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "resnet18", "nfnet_f0"])
def test_models_of_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model, x = timm.create_model(name), torch.empty(1, 3, 224, 224)
    assert closed_form(model, x).model == pytest.approx(count_flops(model, x).model, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swin_t", "vit_b_16", "mobilenet_v3_small"])
def test_models_of_torchvision(name: str) -> None:
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        model, x = models.get_model(name), torch.empty(1, 3, 224, 224)
    assert closed_form(model, x).model == pytest.approx(count_flops(model, x).model, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ViT", "Dinov2", "CLIPVision", "SiglipVision"])
def test_models_of_transformers(kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = getattr(transformers, f"{kind}Config")(**sizes, image_size=32, patch_size=8)
    with torch.device("meta"):
        model, x = getattr(transformers, f"{kind}Model")(config), torch.empty(1, 3, 32, 32)
    run = lambda: model(x).last_hidden_state.sum()  # noqa: E731
    assert closed_form(run).forward == pytest.approx(count_flops(run).forward, rel=0.005)


@pytest.mark.slow
def test_heads_of_lightly() -> None:
    heads = pytest.importorskip("lightly.models.modules.heads")
    for head in (
        heads.SimCLRProjectionHead(16, 32, 8),
        heads.BYOLPredictionHead(16, 32, 8),
        heads.DINOProjectionHead(16, 32, 8, 24),
    ):
        head.train()
        counted = count_flops(head, torch.randn(4, 16, requires_grad=True))
        said = closed_form(head.to("meta"), torch.empty(4, 16, device="meta", requires_grad=True))
        assert (said.forward, said.backward) == (counted.forward, counted.backward), type(head).__name__


def test_a_matrix_times_a_vector_is_counted_once() -> None:
    a, b = torch.empty(4, 8, device="meta"), torch.empty(8, device="meta")
    assert closed_form(lambda: a @ b).forward == 2 * 4 * 8


def test_windows_of_torchvision_have_the_cells_that_fill_them_up() -> None:
    swin = pytest.importorskip("torchvision.models.swin_transformer")
    layer, x = swin.ShiftedWindowAttention(8, [4, 3], [0, 0], 2), torch.zeros(2, 6, 5, 8)
    assert closed_form(deepcopy(layer).to("meta"), x.to("meta")).forward == count_flops(layer, x).forward

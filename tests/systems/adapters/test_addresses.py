"""Which modules the presets name in every family, and how large the adapters there are."""

import pytest
import timm
import torch
from torch import nn

from support.trunks import images, trunk
from tapetum.core.errors import BadInput
from tapetum.encoders import build
from tapetum.encoders.config import EncoderConfig, Preprocessing
from tapetum.encoders.features import Encoder, Features
from tapetum.systems.adapters import AdapterConfig, attach
from tapetum.systems.adapters.addresses import middle_blocks, places

MLPS = "blocks.0.mlp blocks.1.mlp blocks.5.mlp blocks.6.mlp blocks.10.mlp blocks.11.mlp"
TABLE = {
    "vit-base-16": f"patches {MLPS} pooled",
    "resnet-50": "stem stages.0.0.convs.0 stages.1.0.convs.0 stages.2.0.convs.0 stages.3.2 pooled",
    "nfnet-f0": "stem.0 stages.0.0.convs.0 stages.1.0.convs.0 stages.2.0.convs.0 stages.3.2 pooled",
    "efficientnet-lite0": "stem stages.1.0.expand stages.2.0.expand stages.3.0.expand stages.6.0 pooled",
    "timm:vit_base_patch16_224": f"patch_embed {MLPS} fc_norm",
    "timm:resnet50": "conv1 layer1.0.conv1 layer2.0.conv1 layer3.0.conv1 layer4.2 global_pool",
    "timm:dm_nfnet_f0": "stem.conv1 stages.0.0.conv1 stages.1.0.conv1 stages.2.0.conv1 stages.3.2 head.global_pool",
    "timm:tf_efficientnet_lite0": "conv_stem blocks.1.0.conv_pw blocks.2.0.conv_pw blocks.3.0.conv_pw blocks.6.0 global_pool",
}
"""By name: where adapters go at the bottom, in the middle, and at the top."""


def on_paper(name: str) -> nn.Module:
    """A network of whole size without numbers."""
    with torch.device("meta"):
        return timm.create_model(name[5:]) if name.startswith("timm:") else build(name)


@pytest.mark.parametrize("name", TABLE)
def test_presets_name_these_places(name: str) -> None:
    whole = on_paper(name)

    def named(preset: str) -> list[tuple[str, str]]:
        return [(place.section, place.address or "pooled") for place in places(whole, AdapterConfig(preset=preset))]

    bottom, *middle, top = TABLE[name].split()
    rows = [("bottom", bottom), *(("middle", address) for address in middle), ("top", top)]
    assert named("bottom-middle-top") == rows
    for sections in ("bottom", "middle", "top", "bottom-middle", "middle-top", "bottom-top"):
        assert named(sections) == [row for row in rows if row[0] in sections.split("-")]
    assert [address for _, address in named("all-blocks")] == [
        address for address, _ in whole.named_modules() if address in dict.fromkeys(a for _, a in named("all-blocks"))
    ]


@pytest.mark.parametrize(
    ("name", "blocks"), [("vit-base-16", 12), ("resnet-50", 16), ("nfnet-f0", 12), ("efficientnet-lite0", 16)]
)
def test_all_blocks_are_all(name: str, blocks: int) -> None:
    for maps in ("parallel", "series", "bottleneck"):
        config = AdapterConfig(preset="all-blocks", maps=maps)  # pyright: ignore[reportArgumentType]
        assert len(places(on_paper(name), config)) == blocks


def test_in_series_adapters_follow_blocks_and_the_first_norm() -> None:
    found = places(on_paper("resnet-50"), AdapterConfig(maps="series"))
    assert [place.address for place in found] == ["stem_norm", "stages.0.0", "stages.1.0", "stages.2.0", "stages.3.2", ""]
    assert not any(place.beside for place in found)


@pytest.mark.parametrize("depth", range(1, 40))
def test_blocks_of_the_middle_are_as_many_as_asked_and_in_order(depth: int) -> None:
    for count in range(1, depth + 1):
        chosen = middle_blocks(depth, count)
        assert len(chosen) == count
        assert chosen == sorted(set(chosen))
        assert chosen[0] == 0
        assert chosen[-1] < depth
        assert count < 3 or chosen[-1] == depth - 1  # of two, the second is in the middle


@pytest.mark.parametrize("kind", ["vit", "resnet", "nfnet", "efficientnet-lite", "timm-vit", "timm-lite", "torchvision-vit"])
@pytest.mark.parametrize(
    "config",
    [
        AdapterConfig(),
        AdapterConfig(maps="series", tokens="parallel", scale=True, rank=3),
        AdapterConfig(preset="all-blocks", maps="bottleneck", rank=5),
        AdapterConfig(preset="bottom-middle", kernel=3),
    ],
    ids=["parallel", "series", "bottleneck", "3x3"],
)
def test_formulas_count_what_is_made(kind: str, config: AdapterConfig) -> None:
    adapted = attach(trunk(kind), config)
    for site, adapter in adapted.adapters["default"].at_sites().items():  # pyright: ignore[reportCallIssue]
        assert sum(p.numel() for p in adapter.parameters()) == site.parameters
    assert sum(row.parameters for row in adapted.summary()) == sum(p.numel() for p in adapted.adapter_parameters())


def test_addresses_by_name() -> None:
    adapted = attach(trunk("resnet"), ["stem", "stages.1.0", ""])
    assert [(row.section, row.address or "pooled", row.form) for row in adapted.summary()] == [
        ("bottom", "stem", "parallel"),
        ("middle", "stages.1.0", "bottleneck"),
        ("top", "pooled", "series"),
    ]
    adapted = attach(trunk("timm-vit"), AdapterConfig(addresses=("blocks.1", "blocks.2.attn.qkv"), tokens="lora"))
    assert [(site.where, site.form) for site in adapted.sites("default")] == [("after", "series"), ("weight", "lora")]


class Own(nn.Module):
    """A trunk of no family that says where adapters fit."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.pair = nn.LSTM(8, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pair(self.second(self.first(x).relu()))[0]

    def adapter_addresses(self) -> tuple[str, ...]:
        return "first", "second"


def test_a_trunk_of_another_kind_says_where_adapters_fit() -> None:
    x = torch.randn(2, 5, 6)
    whole = Own()
    adapted = attach(whole, "all-blocks", example=x[:1])
    assert torch.equal(adapted(x), whole(x))
    assert [row.address for row in adapted.summary()] == ["first", "second"]
    with torch.no_grad():
        for p in adapted.adapter_parameters():
            p.add_(0.1)
    assert not torch.equal(adapted(x), whole(x))
    adapted.verify()


@pytest.mark.parametrize(
    ("make", "preset", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 3)), "bottom", "no known family: known are ViT, ResNet"),
        (Own, "bottom", "give preset='all-blocks', or addresses"),
        (Own, ["nowhere"], "no module 'nowhere'; it has first, second"),
        (Own, ["unused"], "never called by itself"),
        (Own, ["pair"], "gives no tensor"),
        (Own, [""], "only an encoder has a pooled vector"),
        (Own, [], "list of addresses is empty"),
        (Own, ["first", "first"], "stands twice"),
        (Own, "bottom-up", "no preset 'bottom-up'; it is one of bottom, middle"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(make, preset, message) -> None:
    with pytest.raises(BadInput, match=message):
        attach(make(), preset, example=torch.randn(1, 5, 6 if make is Own else 3))


def test_a_plain_module_takes_adapters_after_the_layers_that_it_calls() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.last, self.first = nn.Linear(8, 8), nn.Linear(8, 8), nn.Conv2d(3, 8, 2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x).mean((2, 3)).relu())

    bare, x = Bare(), torch.randn(2, 3, 4, 4)
    adapted = attach(bare, "all-blocks", example=x[:1])
    assert [row.address for row in adapted.summary()] == ["first", "last"]
    assert torch.equal(adapted(x), bare(x))


def test_an_encoder_without_a_place_for_adapters_is_told_to_say_one() -> None:
    class Mute(Encoder):
        def forward(self, images: torch.Tensor) -> Features:
            return Features(images.flatten(2).mT, (4, 4), images.mean((2, 3)), (images,))

    mute = Mute(EncoderConfig(), Preprocessing(size=(4, 4)))
    mute.layer = nn.Linear(2, 2)  # never called
    with pytest.raises(BadInput, match=r"Mute has no linear or conv.* passes; write its method adapter_addresses\(\), see"):
        attach(mute, "all-blocks", example=torch.randn(1, 3, 4, 4))
    with pytest.raises(BadInput, match="Mute has no method forward"):
        Encoder.forward(mute, torch.randn(1, 3, 4, 4))


def test_layers_that_are_not_called_are_refused() -> None:
    vit = trunk("vit")
    vit.blocks[0].unused = torch.nn.Linear(2, 2)
    with pytest.raises(BadInput, match=r"'blocks\.0\.unused' of this ViT is never called by itself"):
        attach(vit, ["blocks.0.unused"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"middle": -1}, "middle is -1"),
        ({"maps": "beside"}, "maps is 'beside'; it must be parallel, series or bottleneck"),
        ({"std": 2.0}, "std is 2.0"),
    ],
)
def test_settings_that_cannot_be(changes, message) -> None:
    with pytest.raises(BadInput, match=message):
        AdapterConfig(**changes)


def test_other_examples_and_names_are_refused() -> None:
    with pytest.raises(BadInput, match=r"give floats \(images, 3, rows, columns\)"):
        attach(trunk("vit"), example=torch.zeros(1, 4, 32, 32))
    adapted = attach(trunk("vit"))
    for bad, message in (("default", "already"), ("a.b", "use letters"), ("", "use letters")):
        with pytest.raises(BadInput, match=message):
            adapted.add(bad)
    for act in (lambda: adapted.use("x"), lambda: adapted(images(), adapter="x"), lambda: adapted.remove("x")):
        with pytest.raises(BadInput, match="no adapter 'x'; there are default"):
            act()
    with pytest.raises(BadInput, match="has adapters already"):
        attach(adapted)

"""The base class of image encoders, their output `Features`, and the preparation of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders.config import EncoderConfig, Preprocessing
from tapetum.layers.transformer import AdapterNames

if TYPE_CHECKING:
    from tapetum.encoders.embed import EncoderEmbedder


@dataclass(frozen=True)
class Features:
    """What an encoder sees in a batch of images."""

    tokens: Float[Tensor, "b n d"]
    """After the last norm: the class token first where there is one, then registers, then the grid row by row."""
    grid: tuple[int, int]
    """Rows and columns of the last rows * columns tokens."""
    pooled: Float[Tensor, "b e"]
    """One vector an image: the source's own pooled output, before its classifier."""
    maps: tuple[Float[Tensor, "b c h w"], ...]
    """By stage, finest first. A ViT has one, of its patch size; a ResNet four, of strides 4, 8, 16 and 32."""


torch.export.register_dataclass(Features)


class Encoder(nn.Module):
    """A network from prepared images to `Features`; the base of every family."""

    width: int
    """Channels of the pooled vector."""
    map_channels: tuple[int, ...]
    """Channels of each of the maps, finest first."""
    strides: tuple[int, ...]
    """Pixels of the image to a cell of each of the maps."""
    head: nn.Linear | None
    """The classifier, where the config has classes."""
    class_names: tuple[str, ...] = ()
    """Names of its classes, where the weights came with some; files do not keep them."""
    adapter_names: AdapterNames | None = None
    """Where presets of adapters stand; None allows `all-blocks` and addresses alone."""
    takes_bfloat16: bool = False
    """Its vectors hardly change in bfloat16, so that `tapetum embed` and `index` choose it where it is fast."""

    def __init__(self, config: EncoderConfig, preprocessing: Preprocessing):
        super().__init__()
        self.config, self.preprocessing = config, preprocessing

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Features:
        """Encode prepared images; see `prepare`."""
        raise BadInput(f"{type(self).__name__} has no method forward; write it, see docs/guides/bring-your-own.md")

    if TYPE_CHECKING:

        def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Features: ...

    def checked(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Check prepared images. Raises BadInput for anything that a network cannot process."""
        if not isinstance(images, Tensor):
            raise BadInput(f"an encoder was given a {type(images).__name__}; {_PREPARED}")
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise BadInput(f"an encoder was given {images.dtype} {tuple(images.shape)}; {_PREPARED}")
        here = next(self.parameters()).device
        if images.layout != torch.strided or images.device != here:
            kind = f"a {images.layout} tensor on {images.device}, and is on {here}".replace("torch.", "")
            raise BadInput(f"an encoder was given {kind}; {_PREPARED}")
        return images

    def classify(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Compute the logits of prepared images. Raises BadInput if the encoder has no classifier."""
        if self.head is None:
            raise BadInput("this encoder has no classifier; build it with classes, or load weights that have one")
        return self.head(self(images).pooled)

    def image_vectors(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b e"]:
        """Compute the vectors used to compare prepared images: the pooled ones, unless texts are compared with them."""
        return self(images).pooled

    def prepare(
        self, images: UInt8[Tensor, "b h w 3"] | np.ndarray | Sequence[UInt8[np.ndarray, "h w 3"]]
    ) -> Float[Tensor, "b 3 H W"]:
        """Resize, crop and normalise images (red, green, blue; 0..255) as the weights' preprocessing says.

        Images in a list may differ in size. The result is float32 on the encoder's device. Raises BadInput for images of
        another kind or shape.
        """
        device = next(self.parameters()).device
        if isinstance(images, (list, tuple)):
            if not images:
                raise BadInput("there are no images; give at least one, uint8 (rows, columns, 3)")
            each_alone = ((image if hasattr(image, "ndim") else np.asarray(image))[None] for image in images)
            prepared = [prepare(image, self.preprocessing, device) for image in each_alone]
            if len(sizes := {tuple(image.shape[2:]) for image in prepared}) > 1:
                raise BadInput(
                    f"these images are prepared to {len(sizes)} sizes, for this encoder keeps shapes; prepare them one by one"
                )
            return torch.cat(prepared)
        return prepare(cast(Tensor | np.ndarray, images), self.preprocessing, device)

    def embedder(self) -> "EncoderEmbedder":
        """Make the embedder, which computes vectors of files with this encoder; see `tapetum.encoders.embed`."""
        from tapetum.encoders.embed import EncoderEmbedder

        return EncoderEmbedder(self)

    def adapter_addresses(self) -> tuple[str, ...]:
        """List the names of the modules after which an adapter fits, in the order of the forward pass.

        Each is a module of this encoder (`get_submodule`) whose output is a tensor that an adapter may change; by default the
        linear and convolutional layers that an image passes. Raises BadInput if there is none.
        """
        first = next(self.parameters())
        return passed_layers(self, torch.zeros(1, 3, *self.preprocessing.size, device=first.device, dtype=first.dtype))


def passed_layers(network: nn.Module, *example: Any) -> tuple[str, ...]:
    """List the linear and convolutional layers that a forward pass calls, in its order; other calls don't count."""
    passed: dict[str, None] = {}
    layers = [(name, module) for name, module in network.named_modules() if name and isinstance(module, nn.Linear | nn.Conv2d)]
    hooks = [
        module.register_forward_hook(lambda *_, name=name: passed.setdefault(name))  # pyright: ignore[reportArgumentType]
        for name, module in layers
    ]
    try:
        with torch.no_grad():
            network(*example)
    finally:
        for hook in hooks:
            hook.remove()
    if not passed:
        raise BadInput(
            f"{type(network).__name__} has no linear or convolutional layer that an image passes; write its method "
            "adapter_addresses(), see docs/guides/bring-your-own.md, or give addresses"
        )
    return tuple(passed)


_PREPARED = "give floats (images, 3, rows, columns) on its device, as its method prepare makes of arrays and tensors"


def prepare(
    images: UInt8[Tensor, "b h w 3"] | np.ndarray, how: Preprocessing, device: torch.device | None = None
) -> Float[Tensor, "b 3 H W"]:
    """Resize, crop and normalise uint8 images; resized values are rounded to integers, as in image files.

    Raises BadInput for images of another kind or shape.
    """
    from tapetum.core.devices import send_to_device
    from tapetum.types.checks import unmasked

    images = unmasked(images, "images")
    if isinstance(images, np.ndarray) and not images.flags.writeable:
        images = images.copy()  # torch warns of arrays that it may not write to
    try:
        x = torch.as_tensor(images)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"images are a {type(images).__name__} that is no tensor; give uint8 (n, rows, columns, 3)") from error
    if x.layout != torch.strided or (x.is_meta and (device is None or device.type != "meta")):
        raise BadInput(f"images are a {x.layout} tensor on {x.device}; give one with numbers: uint8 (n, rows, columns, 3)")
    if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[-1] != 3 or 0 in x.shape[1:]:
        raise BadInput(f"images are {x.dtype} {tuple(x.shape)}; give uint8 (images, rows, columns, 3)")
    x = x.to(device).movedim(-1, 1)
    given = int(x.shape[2]), int(x.shape[3])
    size, (rows, columns) = how.resized(*given), how.crop(*given)
    if size != x.shape[2:]:
        if x.device.type == "cpu" and how.antialias:  # the integer kernel, which does as Pillow does
            x = F.interpolate(x, size=size, mode=how.interpolation, align_corners=False, antialias=True)
        else:
            x = F.interpolate(x.float(), size=size, mode=how.interpolation, align_corners=False, antialias=how.antialias)
            x = x.round_().clamp_(0, 255)
    x = x[:, :, rows, columns]
    mean, std = (send_to_device(torch.tensor(value), x.device)[:, None, None] for value in (how.mean, how.std))
    return ((x.float() - mean) / std).contiguous()


def check_finite(numbers: Tensor) -> Tensor:
    """Check a network's output for images, texts or pieces of videos. Raises BadInput if a number is not finite."""
    if not torch.isfinite(numbers).all():
        raise BadInput("the network gives numbers that are not finite; its weights or its config are damaged, get them again")
    return numbers

"""What of a video encoder learns (LongViViT, arXiv 2312.07395, section 3.3).

    all        everything
    last-4     the last four blocks, the last norm and the pooling: nothing before them stores anything for backward
    adapters   a new adapter after the MLP of every block; the tubelets; the pooling
    lora       a low-rank change of every linear layer of the blocks; the tubelets; the pooling

Differs from the paper, whose widths and ranks are in an appendix that could not be read: they are settings.
"""

from typing import TYPE_CHECKING, Any

from torch import nn

from tapetum.layers.lora import add_lora
from tapetum.systems.longvideo.layers import AdaptedMlp, FactorisedBlock

if TYPE_CHECKING:
    from tapetum.systems.longvideo.encoder import VideoEncoder

_LAST = 4


def prepare_tuning(encoder: "VideoEncoder") -> None:
    """Add what the config's way of tuning needs, and let learn what it says. Outputs stay as they were."""
    config = encoder.config
    if config.tune == "all":
        return
    encoder.requires_grad_(False)
    learning: list[nn.Module] = [encoder.pooler] if encoder.pooler is not None else []
    if config.tune == "last-4":
        learning += [*encoder.blocks[-_LAST:], encoder.norm]
    else:
        learning.append(encoder.tubelets.kernels if config.kernels else encoder.tubelets.video)
    for module in learning:
        module.requires_grad_(True)
    for block in encoder.blocks:
        inner: Any = block.space if isinstance(block, FactorisedBlock) else block
        if config.tune == "adapters":
            inner.mlp = AdaptedMlp(inner.mlp, config.width, config.adapter_width or max(config.width // 4, 1))
        elif config.tune == "lora":
            add_lora(block, config.lora_rank)

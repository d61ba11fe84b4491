"""Checkpoints as the JAX code of TAPIR writes them."""

import numpy as np
import torch


def haiku_of(state: dict[str, torch.Tensor]) -> dict[str, dict[str, np.ndarray]]:
    """A JAX checkpoint with the weights of a published PyTorch state dict, by the rules of haiku."""
    heads = {
        "hid1": "cost_volume_regression_1",
        "hid2": "cost_volume_regression_2",
        "hid3": "cost_volume_occlusion_1",
        "hid4": "cost_volume_occlusion_2",
        "occ_out": "occlusion_out",
    }
    params: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in state.items():
        *path, leaf = name.split(".")
        array, norm = tensor.numpy(), "norm" in name or "bn_" in name
        if path[0] == "resnet_torch" and path[1] == "initial_conv":
            module = "tapir/~/resnet/~/initial_conv"
        elif path[0] == "resnet_torch":
            last = path[-1].replace("bn", "instancenorm").replace("proj_conv", "shortcut_conv")
            module = f"tapir/~/resnet/~/block_group_{path[2]}/~/block_{path[4]}/~/{last}"
        elif path[0] == "torch_cost_volume_track_mods":
            module = f"tapir/~/{heads[path[1]]}"
        elif path[0] == "extra_convs":
            number = int(path[2])
            if path[3] == "layer_norm":
                module = "tapir/~/extra_convs/layer_norm" + (f"_{number}" if number else "")
            else:
                number = 2 * number + (path[3] == "conv_1")
                module = "tapir/~/extra_convs/conv2_d" + (f"_{number}" if number else "")
        else:
            block = "" if len(path) == 2 else "block/" if path[2] == "0" else f"block_{path[2]}/"
            module = f"tapir/~/pips_mlp_mixer/{block}{path[-1]}"
        if leaf == "weight" and not norm:
            array = array.transpose({2: (1, 0), 3: (2, 1, 0), 4: (2, 3, 1, 0)}[array.ndim])
        leaf = ("scale" if norm else "w") if leaf == "weight" else ("offset" if norm else "b")
        params.setdefault(module, {})[leaf] = array
    return params

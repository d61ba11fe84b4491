"""Foreign files for `claims.py`: sound things with one damage each, and code that nobody names.

    KIND~WHAT~VALUE    a thing of `STOCK` in which WHAT is VALUE: `vit~layer_norm_eps~NaN` is a folder of transformers whose
                       config says so, `index~row~-5` an index with a piece of row -5, `run~part~fifo` a run whose checkpoint
                       in parts has a pipe beside them. Only those that a command names are written.
    mynet.py           code that commands name: encoders, trackers and tasks that are not what they must be
    evil.py, torch.py  code that no command names, only files do; what it leaves when it is run is found
    SECRET             a password in addresses, which must be in no output and no file

`python evidence/hostile-cli/foreign.py FOLDER` makes the stock, once for all commands.
"""

import json
import os
import pickle
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SECRET = "hunter2hunter2"
ADDRESSES = (
    "SERVER/endless/",
    "SERVER/endless/film.mp4",
    "SERVER/links/",
    "SERVER/listing/",
    "SERVER/circle/",
    "SERVER/huge/a.png",
)
CREDENTIALS = tuple(
    f"{scheme}://user:{SECRET}@{place}"
    for scheme, place in (
        ("rtsp", "127.0.0.1:1/live"),
        ("http", "127.0.0.1:1/film.mp4"),
        ("https", "[::1]:1/photos/"),
        ("s3", "bucket/photos"),
        ("rtmp", "127.0.0.1:1/live"),
        ("udp", "127.0.0.1:1"),
        ("ftp", "127.0.0.1:1/a.png"),
        ("HTTP", "127.0.0.1:1/a.png"),
    )
)
NUMBERS = "NaN", "-1", "0", "1e308", "1e-320", "1000000000000", "Infinity", "null", "[]", "true", "2.5"
CONFIG = "hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size", "image_size", "layer_norm_eps", "hidden_act"
CONFIG += "num_channels", "intermediate_size", "qkv_bias", "model_type"
PROCESSOR = "image_mean", "image_std", "size", "resample", "rescale_factor", "do_resize", "crop_size"
TIMM = "mean", "std", "input_size", "crop_pct", "architecture", "tag"
TINY = "--size", "32", "--batch-size", "4", "--device", "cpu", "--hidden", "32", "--projection", "16", "--encoder", "vit-nano"
TINY += "--change", "depth=1", "width=32", "heads=2", "mlp_width=48"
"""Settings of a run that takes a second."""
KINDS_OF_NUMBERS = {"I8": 1, "BOOL": 1, "C64": 8, "U8": 1, "I64": 8, "F8_E4M3": 1, "X": 4}
VALUES = {
    "vit": {
        **dict.fromkeys(CONFIG, NUMBERS),
        **{f"processor.{name}": (*NUMBERS, "60000") for name in PROCESSOR},
        "weights": (*KINDS_OF_NUMBERS, "nan", "inf", "empty", "more", "nul"),
        "shards": ("fifo", "stranger", "outside", "loop", "missing"),
        "code": ("auto_map", "class"),
    },
    "clip": {
        "text_config.vocab_size": ("100", "0", "1000000000"),
        "text_config.max_position_embeddings": ("0", "2", "NaN"),
        "projection_dim": NUMBERS,
        "logit_scale_init_value": NUMBERS,
        "tokenizer": ("larger", "ids", "negative", "merges", "nul"),
    },
    "timm": {f"pretrained_cfg.{name}": (*NUMBERS, "60000") for name in TIMM}
    | {"architecture": ("null", "../../x", "evil.py:Net")},
    "index": {
        "vectors": ("nan", "inf", "zero", "short", "link"),
        "row": ("-5", "10000000000", "-9223372036854775808"),
        "about": ("view", "recursive"),
        "pieces": ("view", "recursive"),
        "path": ("../../evil.png", "=1+1.png", "evil\ud800", "-", "/dev/zero"),
        "tags": ("NaN", "[[1]]", "deep", "null"),
        "reference": ("evil.py:Net", "random:evil.py:Net", "evil.py:Net=x", "evil.pth", "evil:Net", "nowhere", "a\0b"),
        "thumbnail": ("fifo", "text"),
    },
    "run": {
        "part": ("fifo", "stranger", "nan"),
        "manifest": ("outside", "deep", "NaN"),
        "state": ("deep", "NaN", "fifo"),
        "settings": ("code", "nul", "deep"),
        "ledger": ("NaN", "formula", "deep"),
        "encoder": ("code", "fifo"),
    },
    "lerobot": {
        "row": ("null", "bytes", "path", "short"),
        "fps": ("NaN", "1e308", "-1"),
        "length": ("0", "1000000000000", "-1"),
        "data_path": ("../x", "{evil}"),
    },
    "tracks": {"name": ("=1+1", "@SUM(A1)", "+1", "-2+3", "\tx", "=cmd", "a,b", '"', "\u202e", "")},
    "points": {"name": ("=1+1", "@SUM(A1)", "+1", "-2+3", "\t=1", "=cmd", "\u202e=1")},
}
"""What may be wrong in each kind."""
ENDINGS = {"tracks": (".npz", ".csv", ".json"), "points": (".csv",)}
_NAME = re.compile(r"(vit|clip|timm|index|run|lerobot|tracks|points)~([\w.]+)~(\d+)(\.\w+)?")
OWN = (
    "mynet.py:Plain",
    "random:mynet.py:Plain",
    "mynet.py:Mine",
    "random:mynet.py:Mine",
    "random:mynet.py:Nan",
    "mynet.py:Tuple",
)
OWN += "mynet.py:Missing", "mynet.py", "mynet.py:", "mynet:Plain", "mynet.py:Exits", "random:mynet.py:Raises", "broken.py:X"
OWN += (
    "mynet.py:Mine=noise.safetensors",
    "mynet.py:Mine=own.pth",
    "mynet.py:text",
    "exits.py:X",
    "random:timm:",
    "random:",
    "timm:=x",
)
STATES = (
    "own.pth",
    "evil.pth",
    "unknown.safetensors",
    "convnext.safetensors",
    "code.safetensors",
    "objects.npz",
    "timm:resnet18=own.pth",
)
_OWN_CODE = """
import sys
import torch
from torch import nn
from tapetum.encoders.features import Encoder, Features
text = "no class"
class Plain(nn.Module):
    def __init__(self): super().__init__(); self.w = nn.Linear(3, 3)
    def forward(self, x): return self.w(x)
class Mine(Encoder):
    def __init__(self, config=None, preprocessing=None): super().__init__(config, preprocessing); self.w = nn.Conv2d(3, 4, 16)
    def forward(self, images): y = self.w(images); return Features(pooled=y.mean((2, 3)), tokens=y.flatten(2).mT, maps=(y,))
class Nan(Mine):
    def forward(self, images): return super().forward(images * float("nan"))
class Raises(Mine):
    def forward(self, images): raise RuntimeError("own\\nfault")
class Exits(nn.Module):
    def __init__(self, *_, **__): sys.exit(0)
class Tuple:
    causal = False
    def track(self, video, queries, **_): return 1, 2
    def __call__(self, *_, **__): return 1, 2
"""


def named(dice: Any, kind: str) -> str:
    """Draw the name of a damaged thing."""
    what = dice.rng.choice(sorted(VALUES[kind]))
    number = dice.rng.randrange(len(VALUES[kind][what]))
    return f"{kind}~{what}~{number}{dice.rng.choice(ENDINGS[kind]) if kind in ENDINGS else ''}"


def command(verb: str, dice: Any) -> list[str] | None:
    """Draw what follows `tapetum`, with foreign files; None where nothing of the verb reads them in a way of its own."""
    d: Callable[..., Any] = dice.rng.choice
    folder = named(dice, d(["vit", "vit", "clip", "timm", "run"]))
    model = d([folder, folder, folder, d(OWN), d(STATES)])
    video = d([named(dice, "lerobot"), d(ADDRESSES), d(CREDENTIALS), "image.png"])
    tracks, out = named(dice, "tracks"), d(["new.csv", "new.json", "new.npz", "new.h5"])
    index, images = named(dice, "index"), d(["images", "image.png"])
    match verb:
        case "embed":
            return ["embed", *d([[images, "--model", model], [video]]), "--out", d(["e.npz", "e.parquet"])]
        case "classify":
            return ["classify", *d([[images, "--model", model], [video]]), *d([[], ["--json"]])]
        case "index":
            return ["index", *d([["images", "--model", model], [d([*ADDRESSES, *CREDENTIALS])]]), "--out", d(["new", index])]
        case "search":
            how = d([["cat"], ["--image", "image.png"]])
            return ["search", index, *how, *d([[], ["--json"], ["--model", model]])]
        case "track":
            points = d([[], ["--points", named(dice, "points")], ["--grid", "1"]])
            moving = d(["clip.mp4", "clip.mp4", video])
            return ["track", moving, "--model", d(["static", *OWN, *STATES]), *points, *d([[], ["--online"]]), "--out", "out"]
        case "convert":
            return ["convert", tracks, out, *d([[], ["--to", "dlc"], ["--to", "napari"], ["--to", "coco"]])]
        case "show":
            return ["show", tracks, d(["clip.mp4", video]), "--out", d(["new.mp4", "new.png"])]
        case "ask" | "caption" | "detect" | "segment":
            return [verb, d(["image.png", video]), *([] if verb == "caption" else ["a cat"]), *d([[], ["--model", model]])]
        case "answer":
            return ["answer", video, "what?", "--options", "a", "b", *d([[], ["--online"]])]
        case "probe":
            return ["probe", model, "--data", "classes"]
        case "account" | "export":
            return [verb, d([model, f"random:{model}"]), *(["new.onnx"] if verb == "export" else [])]
        case "weights":
            return ["weights", d(["show", "convert", "check"]), d([folder, d(STATES), f"{folder}/model.safetensors"])]
        case "adapt":
            learn = ["learn", "classes", "--task", "classify", "--steps", "2", "--batch-size", "4", "--out", "out"]
            return ["adapt", *d([[*learn, "--trunk", model, *d([[], ["--preset", "all-blocks"]])], ["verify", d(STATES)]])]
        case "discover":
            return ["discover", "image.png", "--model", model, "--out", "out"]
        case "pretrain":
            run, rate = named(dice, "run"), ["--base-lr", d(["1e38", "nan", "1e20", "1e-320"])]
            own = ["simclr", "--data", "classes", *TINY[:-7], "--steps", "2", "--encoder", model, "--out", "out"]
            again = ["simclr", "--config", f"{run}/settings.toml", "--steps", "2", "--out", run]
            new = [d(["simclr", "mynet.py:Mine"]), "--data", "classes", *TINY, "--steps", "3", *rate, "--out", "out"]
            return ["pretrain", *d([own, again, new])]
        case "train":
            return ["train", "status", named(dice, "run")]
        case "ledger":
            return ["ledger", named(dice, "run"), *d([[], ["--json"]])]
        case "study":
            return ["study", "report", named(dice, "run")]
    return None


def make_files(folder: Path, words: list[str], stock: Path, mark: Path) -> None:
    """Write the code, and what `words` name."""
    for name in ("evil", "torch", "numpy", "tapetum", "sitecustomize", "conftest", "multiprocessing", "signal"):
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write(__file__)\nclass Net: pass\n")
    (folder / "mynet.py").write_text(_OWN_CODE)
    (folder / "broken.py").write_text("class X(:\n")
    (folder / "exits.py").write_text("raise SystemExit(0)\n")
    (folder / "evil.pth").write_bytes(pickle.dumps({"a": _Call(f"open({str(mark)!r}, 'a').write('pickle')")}))
    np.savez(folder / "objects.npz", xy=np.array([_Call(f"open({str(mark)!r}, 'a').write('npz')")], object))
    for name in ("own.pth", "unknown.safetensors", "convnext.safetensors"):
        shutil.copy(stock / name, folder / name)
    shutil.copytree(stock / "classes", folder / "classes")
    about = {"family": "evil.py:Net", "config": {}, "preprocessing": {"size": [32, 32]}, "fingerprint": "0"}
    _weights(folder / "code.safetensors", {"a": ("F32", [1], bytes(4))}, {"encoder": json.dumps(about)})
    for match in {found[0]: found for word in words for found in _NAME.finditer(word)}.values():
        kind, what, number, _ = match.groups()
        target, value = folder / match[0], VALUES[kind][what][int(number)]
        if not target.exists():
            if kind not in ENDINGS:
                shutil.copytree(stock / ("vit" if kind == "timm" else kind), target)
            _DAMAGES[kind](target, what, value)


class _Call:
    """Pickles as a call of `exec`."""

    def __init__(self, code: str):
        self.code = code

    def __reduce__(self) -> Any:
        return exec, (self.code,)


def _number(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _edit(path: Path, what: str, value: str) -> None:
    """Change a field of a file of JSON; a dot goes down a level. `deep`, `NaN` and `fifo` take the place of the file."""
    content = json.loads(path.read_text())
    *above, last = what.split(".")
    inner = content
    for name in above:
        inner = inner.setdefault(name, {})
    new, old = _number(value), inner.get(last)
    inner[last] = [new] * len(old) if isinstance(old, list) and not isinstance(new, list) else new
    path.write_text(json.dumps(content))


def _replace(path: Path, value: str) -> None:
    path.unlink(missing_ok=True)
    if value == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("[" * 5000 if value == "deep" else f'{{"steps": [{value}], "format": {value}}}')


def _weights(path: Path, tensors: dict[str, tuple[str, list[int], bytes]], about: dict[str, str] | None = None) -> None:
    """Write a safetensors file of any kinds, right or not."""
    header: dict[str, Any] = {"__metadata__": about} if about else {}
    at = 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at := at + len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def _read_weights(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {
        name: (about["dtype"], about["shape"], data[start + about["data_offsets"][0] : start + about["data_offsets"][1]])
        for name, about in header.items()
    }


def _damage_vit(folder: Path, what: str, value: str) -> None:
    weights = folder / "model.safetensors"
    if what.startswith("processor."):
        _edit(folder / "preprocessor_config.json", what.partition(".")[2], value)
    elif what == "code":
        _edit(
            folder / "config.json",
            *(("auto_map", '{"AutoModel": "evil.Net"}') if value == "auto_map" else ("model_type", "evil.py:Net")),
        )
        shutil.copy(folder.parent / "evil.py", folder / "evil.py")
    elif what == "weights":
        _damage_weights(weights, value)
    elif what == "shards":
        part = weights.rename(folder / "model-00001-of-00002.safetensors")
        other = {"outside": "../noise.safetensors", "loop": "loop.safetensors"}.get(value, "model-00002-of-00002.safetensors")
        names = dict.fromkeys(_read_weights(part), part.name)
        (folder / f"{weights.name}.index.json").write_text(json.dumps({"weight_map": names | {"more": other}}))
        if value == "fifo":
            os.mkfifo(folder / other)
        elif value == "stranger":
            (folder / f"{weights.name}.index.json").write_text(json.dumps({"weight_map": names}))
            _weights(folder / other, {"more": ("F32", [1], bytes(4))})
        elif value == "loop":
            (folder / other).symlink_to(other)
    else:
        _edit(folder / "config.json", what, value)


def _damage_weights(path: Path, value: str) -> None:
    tensors = _read_weights(path)
    name, (kind, shape, data) = next(iter(tensors.items()))
    if value in KINDS_OF_NUMBERS:
        tensors = {
            each: (value, sides, b"\1" * (len(old) // 4 * KINDS_OF_NUMBERS[value])) for each, (_, sides, old) in tensors.items()
        }
    elif value in ("nan", "inf"):
        tensors[name] = kind, shape, struct.pack("<f", float(value)) + data[4:]
    elif value == "empty":
        tensors = {}
    else:
        tensors["a\0b" if value == "nul" else "more"] = kind, shape, data
    _weights(path, tensors)


def _damage_clip(folder: Path, what: str, value: str) -> None:
    if what != "tokenizer":
        _edit(folder / "config.json", what, value)
        return
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    words = content["model"]["vocab"]
    if value == "merges":
        content["model"]["merges"] = [["a"], "b", 3]
    elif value == "nul":
        words["\0"] = 3
    else:
        first = {"larger": 600, "ids": 10**12, "negative": -(10**6)}[value]
        words.update({f"more{k}": first + k for k in range(100)})
    path.write_text(json.dumps(content))


def _damage_timm(folder: Path, what: str, value: str) -> None:
    cfg = {
        "input_size": [3, 32, 32],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "tag": "x",
    }
    config = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config))
    _edit(folder / "config.json", what, value)


def _damage_index(folder: Path, what: str, value: str) -> None:
    vectors, database = folder / "vectors.f16", sqlite3.connect(folder / "index.sqlite")
    endless = "with recursive n(k) as (select 1 union all select k + 1 from n) select"
    numbers = np.fromfile(vectors, np.float16)
    match what:
        case "vectors" if value == "link":
            vectors.unlink()
            vectors.symlink_to("/dev/zero")
        case "vectors":
            numbers[: len(numbers) // 2] = {"nan": np.nan, "inf": np.inf}.get(value, 0)
            numbers[: 3 if value == "short" else None].tofile(vectors)
        case "row":
            database.execute("update pieces set row = ? where row = 0", (int(value),))
        case "about" | "pieces":
            columns = {"about": "name, value", "pieces": "row, file, start_s, stop_s, thumbnail, tags"}[what]
            fake = {"about": "'a' || k, 'b'", "pieces": "k, 1, null, null, null, '[]'"}[what]
            database.execute(f"alter table {what} rename to old")
            more = f" union all select * from ({endless} {fake} from n)" if value == "recursive" else ""
            database.execute(f"create view {what} as select {columns} from old{more}")
        case "path" | "tags" | "thumbnail":
            table = "files" if what == "path" else "pieces"
            new = {"deep": "[" * 5000, "fifo": b"\xff\xd8" + bytes(99)}.get(value, value)
            key = "id = 1" if what == "path" else "row = 0"
            new = new.encode("utf-8", "surrogatepass") if isinstance(new, str) else new
            database.execute(f"update {table} set {what} = cast(? as text) where {key}", (new,))
        case "reference":
            database.execute("update about set value = ? where name = 'reference'", (value,))
    database.commit()
    database.close()


def _damage_run(folder: Path, what: str, value: str) -> None:
    checkpoint = next((folder / "checkpoints").iterdir())
    part, more = checkpoint / "part-00000.safetensors", checkpoint / "part-00001.safetensors"
    match what:
        case "part" if value == "fifo":
            os.mkfifo(more)
        case "part" if value == "stranger":
            shutil.copy(part, more)
        case "part":
            _damage_weights(part, value)
        case "manifest" if value == "outside":
            _edit(checkpoint / "manifest.json", "files", '{"../../../evil.py": {"sha256": "0", "bytes": 0}}')
        case "manifest" | "state":
            _replace(checkpoint / f"{what}.json", value)
        case "settings":
            text = {"code": 'encoder = "evil.py:Net"\nmethod = "evil.py:Net"\n', "nul": 'encoder = "a\\u0000b"\n'}
            (folder / "settings.toml").write_text(text.get(value, f"steps = {'[' * 5000}"))
        case "ledger" if value == "formula":
            _edit(folder / "ledger.json", "name", "=1+1")
        case "ledger":
            _replace(folder / "ledger.json", value)
        case "encoder" if value == "fifo":
            _replace(folder / "encoder.safetensors", value)
        case "encoder":
            shutil.copy(folder.parent / "code.safetensors", folder / "encoder.safetensors")


def _damage_lerobot(folder: Path, what: str, value: str) -> None:
    if what in ("fps", "data_path"):
        _edit(folder / "meta/info.json", what, value)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = folder / ("meta/episodes" if what == "length" else "data") / "chunk-000/file-000.parquet"
    table = pq.read_table(rows)
    if what == "length":
        column = pa.array([int(value)] * table.num_rows, pa.int64())
        pq.write_table(table.set_column(table.column_names.index("length"), "length", column), rows)
        return
    image = (folder.parent / "image.png").read_bytes()
    _edit(folder / "meta/info.json", "features.observation..images", "0")
    about = json.loads((folder / "meta/info.json").read_text())
    about["features"].pop("observation", None)
    about["features"]["observation.images.top"]["dtype"] = "image"
    (folder / "meta/info.json").write_text(json.dumps(about))
    odd = {"null": None, "bytes": {"bytes": b"x", "path": None}, "path": {"bytes": None, "path": "../../evil.py"}}
    images = [{"bytes": image, "path": None}] * table.num_rows
    images[4] = odd.get(value, {"bytes": image[:50], "path": None})
    pq.write_table(table.append_column("observation.images.top", pa.array(images)), rows)


def _damage_points(path: Path, what: str, value: str) -> None:
    path.write_text(f't,x,y,name\n0,10,10,"{value}"\n')


def _damage_tracks(path: Path, what: str, value: str) -> None:
    from tapetum.types import Tracks

    seen = np.ones((1, 6), bool)
    xy, queries = np.full((1, 6, 2), 10, np.float32), np.array([[0, 10, 10]])
    clean = Tracks(xy=xy, visible=seen, confidence=seen.astype(np.float32), queries=queries, names=("N4ME",))
    clean.save(path)
    if path.suffix == ".npz":
        with np.load(path) as stored:
            fields = dict(stored) | {"names": np.array([value])}
        np.savez(path, **fields)
    else:
        text = json.dumps(value)[1:-1] if path.suffix == ".json" else '"' + value.replace('"', '""') + '"'
        path.write_text(path.read_text().replace("N4ME", text))


_DAMAGES: dict[str, Callable[[Path, str, str], None]] = {
    "vit": _damage_vit,
    "clip": _damage_clip,
    "timm": _damage_timm,
    "index": _damage_index,
    "run": _damage_run,
    "lerobot": _damage_lerobot,
    "tracks": _damage_tracks,
    "points": _damage_points,
}


def run_make_stock(folder: Path) -> None:
    """Make the stock in a process of its own, so that this one stays small; nothing is left where that fails."""
    try:
        subprocess.run([sys.executable, __file__, str(folder)], check=True, stdin=subprocess.DEVNULL)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def make_stock(folder: Path) -> None:
    """Write what is sound: it takes torch and transformers, and half a minute."""
    import torch
    from tokenizers import pre_tokenizers
    from torch import nn
    from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    vision = sizes | {"image_size": 32, "patch_size": 16}
    processor = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, "size": {"height": 32, "width": 32}}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(f"{sign}</w>" for sign in alphabet), "<|startoftext|>", "<|endoftext|>"]
    text = sizes | {"vocab_size": len(pieces), "max_position_embeddings": 16, "eos_token_id": len(pieces) - 1}
    models = {
        "vit": ViTModel(ViTConfig(**vision)),
        "clip": CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
        (folder / name / "preprocessor_config.json").write_text(json.dumps(processor))
    tokens = {"type": "BPE", "vocab": {piece: k for k, piece in enumerate(pieces)}, "merges": []}
    (folder / "clip" / "tokenizer.json").write_text(json.dumps({"model": tokens, "added_tokens": []}))
    torch.save({"net": nn.Linear(2, 2), "epoch": 3}, folder / "own.pth")
    _weights(folder / "unknown.safetensors", {"layer.weight": ("F32", [2, 2], bytes(16))})
    names = "embeddings.patch_embeddings.weight", "encoder.stages.0.layers.0.grn.weight"
    _weights(folder / "convnext.safetensors", {f"convnextv2.{name}": ("F32", [2], bytes(8)) for name in names})
    rng = np.random.default_rng(0)
    for name in [f"{label}/{k}.png" for label in "ab" for k in range(5)]:
        path = folder / "classes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    shutil.copytree(Path(__file__).parents[2] / "tests/golden/lerobot/set", folder / "lerobot")
    for words in (
        ["pretrain", "simclr", "--data", "classes", *TINY, "--steps", "1", "--checkpoint", "sharded", "--out", "run"],
        ["index", "classes", "--out", "index", "--model", "resnet-nano", "--device", "cpu"],
    ):
        subprocess.run([sys.executable, "-m", "tapetum.app.shell.main", *words], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    make_stock(Path(sys.argv[1]))

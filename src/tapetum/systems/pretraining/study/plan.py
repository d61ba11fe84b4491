"""Plans of studies: TOML files that define what is compared. Imports no torch.

    [images]  what is learned from          [pixels]  what networks are transferred to
    [probes]    neighbours and linear probe   [recipe], [methods.NAME]  settings of pre-training

    [sources.NAME]  other images to learn from, which a grid names beside or in place of variants of [images]
    [sizes.NAME]  a network; those of one `family` are compared with each other
    [[grids]]     every combination of these sizes, methods, budgets, variants and seeds is a point

Points run in the order of the grids, so put what matters most first; a point in two grids runs once. A point's budget is the
FLOPs of its pre-training, which determines its steps; each point has a full schedule from warm-up to zero and is never a
checkpoint of a longer run. The method `untrained` means a network with random weights, for which budgets don't count.

Methods and encoders of your own are named as elsewhere, FILE.py:CLASS: methods = ["my_method.py:Rotation"], whose settings are
[methods."my_method.py:Rotation"] with own = ["turns=2"]; encoder = "my_net.py:MyNet".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_type_hints

from tapetum.core.errors import BadInput, did_you_mean
from tapetum.core.identity import source_label
from tapetum.core.plugins import is_reference, record_of_class, reference_label
from tapetum.core.reading import MOST_SETTINGS, parse_toml, read_text
from tapetum.systems.pretraining.methods import METHODS, TEXT_METHODS
from tapetum.systems.pretraining.recipes import PretrainRun, encoder_architecture, recipe
from tapetum.systems.pretraining.task import Preset

UNTRAINED = "untrained"
"""In place of a method: nothing is learned before the transfer."""
VARIANTS = "curated", "long_tailed", "duplicated", "noisy", "off_domain"
"""What may be done to the data; see `variants`."""
SHAPES = "shapes"
"""In place of a folder: images that are made on the spot."""
_PLANS = Path(__file__).with_name("plans")
_LABELLED = "supervised", *TEXT_METHODS
"""Methods that see labels; for the others noisy data are curated ones, and no point."""


@dataclass(frozen=True, kw_only=True)
class ImagesPlan:
    data: str = SHAPES
    """Folder or file as `tapetum pretrain --data` takes them; or shapes."""
    count: int = 5000
    """Images of every variant."""
    size: int = 32
    """Side of the views, in pixels."""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Images of another kind that are learned from, all of them alike: no variant is made of them."""

    data: str
    """Folder or file as `tapetum pretrain --data` takes them; or shapes."""
    labelled: bool = True
    """They have classes; of those without, supervised and CLIP make no point."""
    count: int = 0
    """Images of it; 0: as many as of `[images]`. A smaller number is shown more often in the same steps."""


@dataclass(frozen=True, kw_only=True)
class PixelsPlan:
    """Transfer data of the networks: fine-tuning for a class of every pixel."""

    data: str = SHAPES
    """Folder; or shapes."""
    layout: str = "parquet"
    """Of the folder: parquet, ade20k, camvid, cityscapes, voc."""
    size: tuple[int, int] = (48, 64)
    """Rows and columns that the network sees."""
    kept: tuple[int, int] = (96, 128)
    """Rows and columns of images in memory, of which crops are made; 0 and 0: they are read from their files each time."""
    head: Literal["linear", "upernet"] = "linear"
    """Head on the encoder."""
    learning_rates: tuple[float, ...] = (1e-3,)
    """Learning rates; all are tried for every network, and the best on a held-out tenth counts."""
    layer_decay: float = 0.75
    """Factor on the rate for each layer between a weight and the output."""
    steps: int = 120
    """Of each rate."""
    batch_size: int = 8
    """Images of a step."""
    most: int = 0
    """Images of each part at most; 0: all."""
    frozen: bool = False
    """Learn the head alone: a dense probe."""


@dataclass(frozen=True, kw_only=True)
class ProbesPlan:
    """Neighbours and a linear probe on images that nothing was learned from."""

    known: int = 2000
    """Images with their classes."""
    queries: int = 1000
    """Images that are asked about."""


@dataclass(frozen=True, kw_only=True)
class Size:
    family: str
    """Sizes of one family are compared with each other."""
    encoder: str
    """Name or class, as `tapetum pretrain --encoder` takes it for a network that begins anew."""
    change: tuple[str, ...] = ()
    """Settings of it, such as width=64."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Points by all combinations."""

    sizes: tuple[str, ...]
    methods: tuple[str, ...]
    budgets: tuple[float, ...] = (0.0,)
    variants: tuple[str, ...] = ("curated",)
    seeds: tuple[int, ...] = (1,)


@dataclass(frozen=True, kw_only=True, order=True)
class StudyPoint:
    size: str
    method: str
    budget: float
    """FLOPs of pre-training; 0 where nothing is learned."""
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """Get the name of its folder.

        >>> StudyPoint(size="vit-s", method="byol", budget=3e11, variant="curated", seed=1).name
        'vit-s_byol_3e+11_curated_1'
        """
        return f"{self.size}_{reference_label(self.method).replace(':', '-')}_{self.budget:.3g}_{self.variant}_{self.seed}"


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    about: str = ""
    """What it is for, in a line."""
    images: ImagesPlan = field(default_factory=ImagesPlan)
    pixels: PixelsPlan = field(default_factory=PixelsPlan)
    probes: ProbesPlan = field(default_factory=ProbesPlan)
    sources: Mapping[str, DataSource] = field(default_factory=dict)
    """Other images to learn from, by name; a grid's `variants` may name them."""
    sizes: Mapping[str, Size]
    grids: tuple[Grid, ...]
    preset: Preset = "small"
    """Where the settings of the methods begin: small, resnet or vit, as in `tapetum pretrain --preset`."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `PretrainRun` for all methods."""
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fields of `PretrainRun` for one."""
    save_minutes: float = 2.0
    """Minutes between checkpoints: the most that a kill costs."""
    workers: int = 0
    """Processes that make views for each point; 0: the one that trains."""
    cross_check: int = 0
    """Points, the first ones that are pre-trained, whose energy codecarbon measures too, where it is installed."""

    def __post_init__(self) -> None:
        if self.pixels.head not in ("linear", "upernet"):
            raise BadInput(f"the plan has the head {self.pixels.head!r}; it is linear or upernet")
        if clash := [name for name in self.sources if name in VARIANTS]:
            raise BadInput(f"the plan names a source {clash[0]!r}, which is a variant of [images]; give another name")
        for grid in self.grids:
            _known(grid.sizes, self.sizes, "size")
            _known(grid.methods, (*METHODS, UNTRAINED), "method")
            _known(grid.variants, (*VARIANTS, *self.sources), "variant or source")
            if min(grid.budgets) <= 0 and set(grid.methods) != {UNTRAINED}:
                raise BadInput(
                    f"a grid of {', '.join(grid.methods)} has the budget {min(grid.budgets):g}; wanted FLOPs above 0"
                )
        _known(self.methods, METHODS, "method")
        for size in self.sizes.values():
            encoder_architecture(size.encoder, self.images.size, size.change)
        points = self.points()
        for point in points:
            self.run(point)
        if len({point.name for point in points}) < len(points):
            raise BadInput("the plan has two classes of the same name in files of the same name; rename one of the files")

    def points(self) -> list[StudyPoint]:
        """List all points in order, without duplicates."""
        unlabelled = {name for name, source in self.sources.items() if not source.labelled}
        points: dict[StudyPoint, None] = {}
        for grid in self.grids:
            for seed, budget, variant, size, method in product(
                grid.seeds, grid.budgets, grid.variants, grid.sizes, grid.methods
            ):
                if method == UNTRAINED:
                    point = StudyPoint(size=size, method=method, budget=0.0, variant="curated", seed=seed)
                elif (variant in unlabelled) if method in _LABELLED else (variant == "noisy"):
                    continue
                else:
                    point = StudyPoint(size=size, method=method, budget=float(budget), variant=variant, seed=seed)
                points[point] = None
        return [*points]

    def learned_from(self, variant: str) -> tuple[ImagesPlan, str]:
        """Choose the images of a point's variant or source, and the variant made from them."""
        if variant not in self.sources:
            return self.images, variant
        source = self.sources[variant]
        return replace(self.images, data=source.data, count=source.count or self.images.count), "curated"

    def run(self, point: StudyPoint, steps: int = 1) -> PretrainRun | None:
        """Make the run of a point's pre-training; None if nothing is trained. Raises BadInput for unknown settings."""
        if point.method == UNTRAINED:
            return None
        size = self.sizes[point.size]
        method: Any = point.method
        given: Any = {"encoder": size.encoder, "change": size.change, "size": self.images.size, "seed": point.seed}
        start = recipe(method, self.learned_from(point.variant)[0].data, self.preset, **given)
        changed = _replaced(_replaced(start, self.recipe, "recipe"), self.methods.get(method, {}), f"methods.{method}")
        return replace(changed, steps=steps)


@dataclass(frozen=True, kw_only=True)
class PlanSource:
    """A plan as it was given, which a study keeps in its folder."""

    plan: str
    """Text of the plan."""
    images: str | None = None
    """Data that are learned from, instead of the plan's."""
    pixels: str | None = None
    """Data that networks are transferred to, instead of the plan's."""
    layout: str | None = None
    """Their layout, instead of the plan's."""
    contents: str = ""
    """Names and sizes of the files of the data, as a hash, and own classes with their fingerprints; empty where they are not
    known."""

    def read(self) -> StudyPlan:
        """Parse a plan. Raises BadInput if the text is not a plan."""
        try:
            parsed = parse_toml(self.plan)
        except ValueError as error:
            raise BadInput(f"the plan is no TOML ({error}); see docs/systems/flops-study.md") from error
        given = (("images", "data", self.images), ("pixels", "data", self.pixels), ("pixels", "layout", self.layout))
        for part, key, value in given:
            if value is not None:
                parsed[part] = {**parsed.get(part, {}), key: value}
        for part, kind in (("sizes", Mapping), ("grids", list)):
            if not isinstance(parsed.get(part), kind) or not parsed[part]:
                raise BadInput(f"the plan has no {'[sizes.NAME]' if part == 'sizes' else '[[grids]]'}; it needs one or more")
        if not isinstance(parsed.setdefault("sources", {}), Mapping):
            raise BadInput("the plan has sources that are no tables; give [sources.NAME] with data")
        for part, kind in (("sources", DataSource), ("sizes", Size)):
            parsed[part] = {key: _made(kind, value, f"{part}.{key}") for key, value in parsed[part].items()}
        parsed["grids"] = tuple(_made(Grid, value, "grids") for value in parsed["grids"])
        return _made(StudyPlan, parsed, "")


def load_plan(name: str, images: str | None = None, pixels: str | None = None, layout: str | None = None) -> PlanSource:
    """Load a plan: a bundled one (tiny, small, paper) or a TOML file; on other data if given.

    Raises BadInput for an unknown plan.
    """
    path = _PLANS / f"{name}.toml" if name in bundled() else Path(name)
    if not path.is_file():
        raise BadInput(f"there is no plan {name}; it is one of {', '.join(bundled())}, or a TOML file")
    try:
        text = read_text(path, most=MOST_SETTINGS)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the plan {name} cannot be read ({error}); give a TOML file") from error
    source = PlanSource(plan=text, images=images, pixels=pixels, layout=layout)
    return replace(source, contents=data_contents(source.read()))


def data_contents(plan: StudyPlan) -> str:
    """Compute `PlanSource.contents` of a plan's data on this machine."""
    parts = (plan.images, plan.pixels, *plan.sources.values())
    named = [source_label(part.data) for part in parts if part.data != SHAPES]
    methods = {method for grid in plan.grids for method in grid.methods if is_reference(method, "method")}
    encoders = {size.encoder for size in plan.sizes.values() if is_reference(size.encoder, "encoder")}
    records = [record_of_class(each, "method") for each in sorted(methods)]
    records += [record_of_class(each, "encoder") for each in sorted(encoders)]
    return ", ".join(filter(None, [*named, *(" ".join(record.values()) for record in records)]))


def bundled() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _PLANS.glob("*.toml")))


def _known(given: Any, allowed: Any, what: str) -> None:
    for name in given:
        if name not in allowed and not (what == "method" and is_reference(name, "method")):
            raise BadInput(f"the plan names the {what} {name!r}; it is one of {', '.join(allowed)}")


def _made(kind: Any, table: Any, place: str) -> Any:
    if not isinstance(table, Mapping):
        raise BadInput(f"the plan has {table!r} for {place}; give a table of {', '.join(f.name for f in fields(kind))}")
    types = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        _refuse_unknown(key, types, place)
        inner = types[key]
        if is_dataclass(inner) and not is_dataclass(value):
            value = _made(inner, value, key)
        values[key] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**values)
    except TypeError as error:
        raise BadInput(
            f"the plan{f', {place}' if place else ''}: {error}".replace(f"{kind.__name__}.__init__() ", "")
        ) from error


def _replaced(config: Any, changes: Mapping[str, Any], place: str) -> Any:
    names, values = {f.name for f in fields(config)}, {}
    for key, value in changes.items():
        _refuse_unknown(key, names, place)
        if isinstance(value, Mapping):
            if (inner := getattr(config, key)) is None:  # another method's
                continue
            value = _replaced(inner, value, f"{place}.{key}")
        values[key] = tuple(value) if isinstance(value, list) else value
    return replace(config, **values)


def _refuse_unknown(key: str, names: Any, place: str) -> None:
    if key not in names:
        raise BadInput(f"the plan has {key!r}{f' in {place}' if place else ''}; {did_you_mean(key, sorted(names))}")

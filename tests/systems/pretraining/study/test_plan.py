"""Plans: those that come with the package, and what is refused."""

from pathlib import Path

import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.study.plan import UNTRAINED, PlanSource, StudyPoint, bundled, load_plan

LEAST = '[sizes.a]\nfamily = "vit"\nencoder = "vit-nano"\n[[grids]]\nsizes = ["a"]\nmethods = ["simclr"]\nbudgets = [1e9]\n'


@pytest.mark.parametrize("name", bundled())
def test_bundled_plans_are_understood(name: str) -> None:
    plan = load_plan(name).read()
    points = plan.points()
    assert len(points) == len(set(points)) == len({point.name for point in points})
    assert {point.size for point in points} == set(plan.sizes)
    for point in points:
        run = plan.run(point, steps=7)
        if point.method == UNTRAINED:
            assert run is None
            assert point.budget == 0
        else:
            assert run is not None
            assert (run.method, run.steps, run.seed, run.size) == (point.method, 7, point.seed, plan.images.size)


def test_points_come_in_the_order_of_the_grids_and_once() -> None:
    grids = '[[grids]]\nsizes = ["a"]\nmethods = ["untrained", "simclr", "supervised"]\nbudgets = [1e9, 2e9]\nseeds = [1, 2]\n'
    grids += 'variants = ["curated", "noisy"]\n'
    points = PlanSource(plan=LEAST + grids).read().points()
    assert points[0] == StudyPoint(size="a", method="simclr", budget=1e9, variant="curated", seed=1)
    assert points[1].method == UNTRAINED
    assert sum(point.method == UNTRAINED for point in points) == 2  # one a seed
    assert sum(point.method == "simclr" for point in points) == 4  # noisy labels are nothing to it
    assert sum(point.method == "supervised" for point in points) == 8


def test_data_of_the_call_take_the_place_of_the_plans() -> None:
    plan = PlanSource(plan=LEAST, images="photos", pixels="masks", layout="voc").read()
    assert (plan.images.data, plan.pixels.data, plan.pixels.layout) == ("photos", "masks", "voc")
    assert PlanSource(plan=LEAST).read().images.data == "shapes"


def test_settings_reach_the_run() -> None:
    text = "[recipe]\nbase_lr = 0.5\n[methods.simclr]\nepochs = 3.0\n[methods.simclr.simclr]\nhidden = 7\n"
    run = PlanSource(plan=text + LEAST).read().run(StudyPoint(size="a", method="simclr", budget=1e9, variant="curated", seed=1))
    assert run is not None
    assert (run.base_lr, run.epochs, run.settings().hidden) == (0.5, 3.0, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "no TOML"),
        ("", "no [sizes.NAME]"),
        (LEAST.split("[[")[0], "no [[grids]]"),
        (LEAST.replace("simclr", "simlcr"), "the plan names the method 'simlcr'"),
        (LEAST.replace('["a"]', '["b"]'), "the plan names the size 'b'; it is one of a"),
        (LEAST + 'variants = ["dirty"]\n', "the variant or source 'dirty'"),
        (LEAST.replace("budgets = [1e9]\n", ""), "the budget 0; wanted FLOPs above 0"),
        (LEAST.replace("family", "famly"), "the plan has 'famly' in sizes.a; did you mean family?"),
        (LEAST.replace('family = "vit"\n', ""), "the plan, sizes.a: missing 1 required keyword-only argument: 'family'"),
        ("[recipe]\nbas_lr = 1\n" + LEAST, "the plan has 'bas_lr' in recipe; did you mean base_lr?"),
        ("[methods.simclr.simclr]\nhiden = 1\n" + LEAST, "the plan has 'hiden' in methods.simclr.simclr"),
        ("[methods.simclr.simclr]\nhidden = 0\n" + LEAST, "hidden is 0"),
        ("images = 3\n" + LEAST, "the plan has 3 for images; give a table"),
        ("rubbish = 3\n" + LEAST, "the plan has 'rubbish'; it is one of"),
        (LEAST.replace("vit-nano", "vit-nanoo"), "vit-nanoo"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput) as error:
        PlanSource(plan=text).read()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no plan smal; it is one of paper, small, tiny, or a TOML file"):
        load_plan("smal")
    (tmp_path / "own.toml").write_text(LEAST)
    assert load_plan(str(tmp_path / "own.toml")).read().sizes["a"].encoder == "vit-nano"
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="cannot be read"):
        load_plan(str(tmp_path / "bytes.toml"))

"""The plan of two cluster runs: its page shows what the script prints, and its FLOPs agree with what others report."""

import pytest

from support.docs_pages import DOCS
from support.scripts import script

PAGE = DOCS / "guides" / "plan-a-cluster-run.md"


@pytest.mark.slow
def test_the_page_shows_what_the_script_prints() -> None:
    plan = script("docs/tools/cluster_plan.py")
    text = PAGE.read_text()
    jobs = [plan.dino_vit_large(), plan.paligemma_stage_1()]
    for job in jobs:
        assert "\n".join([f"## {job.name}", "", *plan.markdown(job)]) in text
    dino, paligemma = jobs
    assert paligemma.parameters == 2_923_466_480 - 64 * 2048  # Hugging Face's, which have 64 more rows in the vocabulary
    days = paligemma.steps * paligemma.batch * (paligemma.forward + paligemma.backward) / (256 * 197e12 * 0.55) / 86_400
    assert days == pytest.approx(2.4, abs=0.05)
    assert f"these FLOPs make {days:.1f}." in text
    assert 2.2 < days < 3  # "just under 3 days", of which some goes to evaluation and starts
    # a block of ViT-L has 12 width^2 + 13 width weights; student 4 gathers, teacher 1, and one in vain
    weights = 12 * 1024**2 + 13 * 1024
    row = plan.plan(dino, 64)
    blocks = (24 * (4 + 1) + 1) * weights * 2
    rest = row.traffic.gathered - blocks
    outside = 2 * (327_000_000 - 24 * weights)  # of student and teacher
    assert rest == pytest.approx(outside * 2, rel=0.01)

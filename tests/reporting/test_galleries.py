"""Which cases are shown, and how large."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from ramjax import anatomy
from ramjax.reporting import estimates, galleries, runs
from tests.reporting import fakes


def evaluated(folder, of, **settings):
    """A system of one run, and what else its galleries are made from."""
    found = runs.read_runs([fakes.write_run(folder, of, curves=False, **settings)])
    tasks = runs.tasks_of(found)
    return [estimates.measure(runs.as_systems(found)[0], of.attributes["dataset"][0], tasks)], tasks, found


def shown(section):
    return {
        gallery.title: [picture.caption.split(":")[0] for picture in gallery.pictures] for gallery in section.blocks
    }


def test_best_median_and_worst_by_bones(tmp_path):
    of = fakes.cases(11)
    bones = [index for index, name in enumerate(anatomy.BONES) if name != "SoftTissue"]
    order = of.attributes["id"][np.argsort(-np.nanmean(of.get("bones", "dsc")[:, bones], 1))].tolist()
    found = shown(galleries.section(*evaluated(tmp_path / "a", of)))
    assert found["Best: a"] == order[:3]
    assert found["Median: a"] == order[4:7]
    assert found["Worst: a"] == order[:-4:-1]
    dice = of.get("erosions", "dsc")[:, 3]
    worst = found["Worst erosions: a"]
    lesions = dict(zip(of.attributes["id"], dice, strict=True))
    assert [lesions[name] for name in worst] == sorted(dice[np.isfinite(dice)])[:3]


def test_without_bones_by_scores_the_smallest_error_first(tmp_path):
    of = fakes.cases(10, tasks=("be", "jsn"))
    error = sum(np.nansum(np.abs(of.get(s, "predicted") - of.get(s, "annotated")), 1) for s in ("be", "jsn")) / 31
    section = galleries.section(*evaluated(tmp_path / "a", of))
    found = {gallery.title: [picture.caption for picture in gallery.pictures] for gallery in section.blocks}
    assert found["Best: a"][0].endswith(f": {error.min():.3f}") and found["Worst: a"][0].endswith(
        f": {error.max():.3f}"
    )
    assert "absolute error" in section.blocks[0].caption and "Worst erosions: a" not in found


def test_few_cases_are_all_shown_once(tmp_path):
    found = shown(galleries.section(*evaluated(tmp_path / "a", fakes.cases(5, tasks=("bones",)))))
    assert list(found) == ["All: a"] and len(set(found["All: a"])) == 5


def test_pictures_shrink_until_the_page_is_small_enough(tmp_path, monkeypatch):
    of = evaluated(tmp_path / "a", fakes.cases(10))
    heights = []
    for budget in (9_000_000, 300_000):
        monkeypatch.setattr(galleries, "BUDGET", budget)
        pictures = [picture for gallery in galleries.section(*of).blocks for picture in gallery.pictures]
        assert len(pictures) == 18  # six kinds of three
        assert sum(len(galleries.data_uri(picture)) for picture in pictures) <= budget + 100 * len(pictures)
        with Image.open(io.BytesIO(pictures[0].content)) as picture:
            assert picture.format == "JPEG"
            heights.append(picture.height)
    assert heights[0] == 640 > heights[1]


@pytest.mark.parametrize("name", ["", "absent.jpg", "../outside.jpg"])
def test_pictures_that_are_not_in_the_run_are_left_out(tmp_path, name):
    (tmp_path / "outside.jpg").write_bytes(fakes._picture(0))
    of = fakes.cases(4, tasks=("bones",))
    names = of.attributes["picture"].copy()
    names[:] = name
    of = dataclasses.replace(of, attributes=of.attributes | {"picture": names})
    assert galleries.section(*evaluated(tmp_path / "a", of, pictures=False)) is None


def test_a_damaged_picture_is_named(tmp_path):
    of = evaluated(tmp_path / "a", fakes.cases(4, tasks=("bones",)))
    path = tmp_path / "a" / of[0][0].cases[0].attributes["picture"][2]
    path.write_bytes(b"no picture")
    with pytest.raises(Exception, match=path.name):
        galleries.section(*of)

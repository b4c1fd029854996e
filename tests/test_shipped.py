"""The network that ships: it loads, says what it is, and reads hands that nobody trained on."""

import json

import cv2
import numpy as np
import pytest

import ramjax
from ramjax import anatomy, phantom, predict
from ramjax.runs import weights

NEW_HANDS = phantom.PhantomConfig(patients=2, scale=0.33, seed=4711)
"""Synthetic hands of a seed that no data set has."""


@pytest.fixture(scope="module")
def run():
    return ramjax.load()


@pytest.fixture(scope="module")
def hands():
    return [phantom.render(NEW_HANDS, case).record for case in phantom.cases(NEW_HANDS)]


def test_the_file_is_small_and_of_synthetic_hands_alone():
    held = weights.read(weights.SHIPPED)
    assert weights.SHIPPED.stat().st_size <= 15e6
    assert all(dataset.startswith("ram_phantom/") for dataset in held.about["datasets"])
    assert set(held.config.data.datasets) == set(held.about["datasets"])
    assert "positioning" in held.config.tasks


def test_the_card_says_what_the_file_says():
    card, about = weights.SHIPPED.with_suffix(".md").read_text(), weights.read(weights.SHIPPED).about
    assert "Research use only" in card
    for value in (*about["test"].values(), *about["films"].values()):
        assert value is None or f"{value:.4g}" in card
    for of in about["decisions"].values():
        assert f"| {of['side_right']} of {of['films']} | {of['view_right']} of {of['films']} |" in card


@pytest.mark.slow
def test_it_finds_the_joints_and_the_side_of_new_hands(run, hands):
    for record in hands:
        reading = run.predict(record.image, pixel_spacing_mm=record.pixel_spacing_mm).report
        assert (reading["side"], reading["view"]) == (record.side, "hand")
        assert reading["chance_hand"] > 0.9
        height, width = record.image.shape
        truth = {joint.site: np.multiply(joint.bbox, (height, width, height, width)) for joint in record.joints}
        found = {joint["site"]: np.array(joint["bbox"]) for joint in reading["joints"]}
        errors = [
            record.pixel_spacing_mm * float(np.linalg.norm((box[:2] + box[2:] - found[site][:2] - found[site][2:]) / 2))
            for site, box in truth.items()
            if site in found
        ]
        assert len(errors) >= 0.9 * len(truth) and np.median(errors) < 3
        bones = {bone["name"] for bone in reading["bones"]}
        assert len(bones & set(anatomy.BONES)) >= 25


@pytest.mark.slow
def test_the_command_needs_no_run(hands, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "hand.png"), hands[0].image)
    assert predict.main(["predict", f"--input={tmp_path / 'hand.png'}", f"--output={tmp_path / 'out'}"]) == 0
    report = json.loads((tmp_path / "out" / "hand.json").read_text())
    assert report["model"]["workdir"] == "default" and report["totals"]["be_sites"] > 10
    assert (tmp_path / "out" / "hand_overlay.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_a_healthy_hand_is_told_from_a_sick_one_sharp_or_soft(run, sigma):
    """By the erosions that it was trained to see, in films of another sharpness too."""
    config = phantom.PhantomConfig(patients=12, scale=0.33, seed=4712)
    records = [phantom.render(config, case).record for case in phantom.cases(config)]
    records.sort(key=lambda record: sum(max(joint.be, 0) for joint in record.joints))
    totals = []
    for record in (records[0], records[-1]):
        image = cv2.GaussianBlur(record.image, (0, 0), sigma) if sigma else record.image
        totals.append(run.predict(image, side=record.side, view="hand").report["totals"]["be"])
    assert totals[1] > totals[0] + 10

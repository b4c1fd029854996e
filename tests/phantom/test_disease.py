"""Scores follow their definitions, spread over all grades, and never regress."""

import numpy as np
import pytest

from ramjax import anatomy
from ramjax.phantom import PhantomConfig, cases
from ramjax.phantom.cohort import patient_at
from ramjax.phantom.config import Case
from ramjax.phantom.disease import COLLAPSE_GRADE, LABEL_50, LABEL_OUTSIDE, REACH, disease_of

BE, JSN = np.array(anatomy.BE_SITES), np.array(anatomy.JSN_SITES)


@pytest.fixture(scope="module")
def cohort():
    config = PhantomConfig(patients=250, seed=11)
    found = []
    for case in cases(config):
        patient = patient_at(config, case.patient, case.visit)
        found.append((patient, disease_of(config, case, patient)))
    return found


def test_unscored_sites_have_no_score(cohort):
    for _, disease in cohort:
        for index, site in enumerate(anatomy.SITES):
            assert (disease.be[index] >= 0) == site.be
            assert (disease.jsn[index] >= 0) == site.jsn


def test_narrowing_grades_follow_the_remaining_width(cohort):
    low = {0: 0.92, 1: 0.76, 2: 0.53, 3: 0.15, 4: 0.0}
    high = {0: 1.0, 1: 0.89, 2: 0.74, 3: 0.47, 4: 0.0}
    for _, disease in cohort:
        for site in JSN:
            grade = int(disease.jsn[site])
            assert low[grade] - 1e-9 <= disease.ratio[site] <= high[grade] + 1e-9


def test_lesions_add_up_to_the_erosion_score(cohort):
    for _, disease in cohort:
        grades = np.zeros(anatomy.NUM_SITES, int)
        for lesion in disease.lesions:
            if lesion.site >= 0:
                grades[lesion.site] += lesion.grade
                assert lesion.bone in anatomy.SITES[lesion.site].bones
        np.testing.assert_array_equal(np.minimum(grades[BE], anatomy.BE_MAX), disease.be[BE])


def test_a_lesions_grade_is_its_reach(cohort):
    for _, disease in cohort:
        for lesion in disease.lesions:
            if lesion.site >= 0 and lesion.grade != COLLAPSE_GRADE:
                low, high = REACH[lesion.grade - 1]
                assert low <= lesion.reach <= high
    assert REACH[1][1] < 0.5 < REACH[2][0], "only grade 3 passes the middle of the bone"


def test_faint_lesions_are_shallow_and_never_large(cohort):
    lesions = [lesion for _, disease in cohort for lesion in disease.lesions]
    faint = [lesion for lesion in lesions if lesion.label == LABEL_50]
    clear = [lesion for lesion in lesions if lesion.label < LABEL_50]
    assert len(faint) > 20
    assert max(lesion.loss for lesion in faint) < min(lesion.loss for lesion in clear)
    assert max(lesion.grade for lesion in faint) <= 2
    assert all((lesion.site < 0) == (lesion.label == LABEL_OUTSIDE) for lesion in lesions)


def test_distributions_are_skewed_and_cover_all_grades(cohort):
    be = np.array([disease.be[BE] for _, disease in cohort])
    jsn = np.array([disease.jsn[JSN] for _, disease in cohort])
    assert 0.2 < (be > 0).mean() < 0.33
    assert 0.22 < (jsn > 0).mean() < 0.36
    for scores, grades in ((be, 6), (jsn, 5)):
        share = np.bincount(scores.ravel(), minlength=grades) / scores.size
        assert share.min() > 0.01
        assert share[1] > share[2] > share[3]


def test_healthy_patients_have_nothing(cohort):
    healthy = [disease for patient, disease in cohort if patient.severity == 0.0]
    assert 0.15 < len(healthy) / len(cohort) < 0.45
    for disease in healthy:
        assert disease.be[BE].sum() == 0 and disease.jsn[JSN].sum() == 0
        assert not disease.lesions and not disease.swelling.any() and disease.drift == 0.0


def test_both_hands_are_alike_but_not_equal(cohort):
    left = np.array([disease.be[BE].sum() for _, disease in cohort[0::2]])
    right = np.array([disease.be[BE].sum() for _, disease in cohort[1::2]])
    assert 0.7 < np.corrcoef(left, right)[0, 1] < 0.999
    assert (left != right).any()


def test_disease_never_regresses_and_lesions_stay():
    config = PhantomConfig(patients=80, seed=3)
    progressed = 0
    for index in range(80):
        before, after = (
            disease_of(config, Case(index, visit, "R"), patient_at(config, index, visit)) for visit in (0, 1)
        )
        assert (after.be >= before.be).all() and (after.jsn >= before.jsn).all() and (after.ratio <= before.ratio).all()
        later = {(lesion.site, lesion.slot, lesion.bone): lesion for lesion in after.lesions}
        for lesion in before.lesions:
            if lesion.site >= 0 and any(
                other.site == lesion.site and other.grade == COLLAPSE_GRADE for other in after.lesions
            ):
                continue
            assert later[lesion.site, lesion.slot, lesion.bone].reach >= lesion.reach - 1e-9
        progressed += int(after.be.sum() > before.be.sum())
    assert progressed > 20

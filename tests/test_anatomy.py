import pytest

from ramjax import anatomy


def test_counts_and_totals_of_the_score():
    assert len(anatomy.BONES) == len(set(anatomy.BONES)) == 30
    assert list(anatomy.BONES) == sorted(anatomy.BONES)
    assert len(anatomy.SITES) == 22
    assert len(anatomy.BE_SITES) == 16 and len(anatomy.JSN_SITES) == 15
    assert len(anatomy.BE_SITES) * anatomy.BE_MAX == 80 and len(anatomy.JSN_SITES) * anatomy.JSN_MAX == 60


def test_every_name_refers_to_a_bone():
    used = {bone for site in anatomy.SITES for bone in site.bones} | {
        bone for pair in anatomy.OVERLAP_PAIRS for bone in pair
    }
    assert used | set(anatomy.WRIST_BONES) <= set(anatomy.BONES)
    assert len(anatomy.WRIST_BONES) == 14 and len(anatomy.OVERLAP_PAIRS) == 14


@pytest.mark.parametrize(
    ("released", "name"),
    [
        ("Pisifrom_Triquetrum", "PisiformTriquetrum"),
        ("Tri", "PisiformTriquetrum"),
        ("metacarpal3rd", "MC3"),
        ("Ulna", "Ulna"),
    ],
)
def test_released_bone_spellings(released, name):
    assert anatomy.canonical_bone(released) == name


def test_released_site_spellings_and_unknown_names():
    assert anatomy.canonical_site("Metacarpal1st") == "CMC-T"
    assert anatomy.canonical_site("Trapzium") == "Tm"
    with pytest.raises(ValueError, match="Femur"):
        anatomy.canonical_bone("Femur")
    with pytest.raises(ValueError, match="MCP-X"):
        anatomy.canonical_site("MCP-X")


def test_wrist_sites_are_the_other_bones_and_joints_than_of_fingers():
    fingers = [name for name in anatomy.SITE_NAMES if name.startswith(("MCP", "PIP")) or name == "IP"]
    wrist = [anatomy.SITE_NAMES[i] for i in anatomy.WRIST_SITES]
    assert len(wrist) == 12 and sorted(wrist + fingers) == sorted(anatomy.SITE_NAMES)

"""The table of encoders: counts beside those that are known."""

import json

from benchmarks import encoders


def test_resnet18_has_the_parameters_and_flops_of_the_paper(capsys):
    """1.82 thousand million multiply-adds at 224 x 224 (torchvision's table), but for two colours of the stem."""
    assert encoders.main(["encoders", "--encoders=resnet18", "--size=224", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    numbers = json.loads(lines[-1])["encoders"]["resnet18"]
    colours = 2 * 7 * 7 * 64
    assert numbers["parameters"] == 11_689_512 - (512 + 1) * 1000 - colours
    assert numbers["published"] == 11_689_512
    of_the_paper = 2 * (1.82 - colours * 112**2 / 1e9)
    assert 0.94 * of_the_paper < numbers["gflops"] < of_the_paper  # taps that fall on padding are left out here
    assert lines[2].startswith("| `resnet18` | 11.17 | 11.69 | 3.3 |")


def test_a_step_is_timed_and_a_wrong_name_is_refused(capsys):
    assert encoders.main(["encoders", "--encoders=residual", "--size=64", "--time", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["encoders"]["residual"]["milliseconds"] > 0
    assert encoders.main(["encoders", "--encoders=resnet19"]) == 1
    assert "--encoders names resnet19; name any of residual, unet" in capsys.readouterr().err

"""Examples that the device makes of a plan beside those that OpenCV makes of the same parameters."""

import jax

from ramjax.config import AugmentConfig, CanvasConfig, DataConfig
from ramjax.data.source import open_source
from tests.steps.rendered import compare


def test_the_device_makes_what_opencv_makes(device, data_dir):
    """Grey values to 2/255 in all but 0.1 % of the pixels, bones to a Dice of 0.995, boxes to 1e-3 pixels."""
    augment = AugmentConfig(mirror=0.3, erase=0.4, blur=1.5, resample=1.0)
    hands = list(open_source("ram_phantom/tiny", str(data_dir), "train"))
    with jax.default_device(device):
        compare(hands, DataConfig(canvas=CanvasConfig(128, 96), augment=augment), 20)

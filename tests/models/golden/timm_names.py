"""The encoders that timm has, by their name here."""

TIMM = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50": "resnet50",
}

SIZES: dict[str, tuple[int, int]] = {}
"""Height and width of the image, where it is not 64 x 96."""

"""The encoders that timm has, by their name here."""

TIMM = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50": "resnet50",
    "densenet121": "densenet121",
    "efficientnetv2_s": "tf_efficientnetv2_s",
    "convnextv2_atto": "convnextv2_atto",
    "convnextv2_femto": "convnextv2_femto",
    "convnextv2_pico": "convnextv2_pico",
    "convnextv2_nano": "convnextv2_nano",
    "convnextv2_tiny": "convnextv2_tiny",
    "convnextv2_base": "convnextv2_base",
}

SIZES: dict[str, tuple[int, int]] = {}
"""Height and width of the image, where it is not 64 x 96."""

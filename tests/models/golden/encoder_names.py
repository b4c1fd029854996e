"""The encoders that other libraries have, by their name here."""

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

TRANSFORMERS = {
    "mit_b0": {"hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2]},
    "mit_b1": {"hidden_sizes": [64, 128, 320, 512], "depths": [2, 2, 2, 2]},
    "mit_b2": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3]},
    "mit_b3": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 18, 3]},
}
"""Settings of Hugging Face's SegformerConfig."""

SIZES: dict[str, tuple[int, int]] = {}
"""Height and width of the image, where it is not 64 x 96."""

"""The encoders that other libraries have, by their name here."""

TIMM = {
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50": "resnet50",
    "densenet121": "densenet121",
    "efficientnetv2_s": "tf_efficientnetv2_s",
    "mobilevit_s": "mobilevit_s",
    "convnextv2_atto": "convnextv2_atto",
    "convnextv2_femto": "convnextv2_femto",
    "convnextv2_pico": "convnextv2_pico",
    "convnextv2_nano": "convnextv2_nano",
    "convnextv2_tiny": "convnextv2_tiny",
    "convnextv2_base": "convnextv2_base",
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "swin_small": "swin_small_patch4_window7_224",
    "swinv2_tiny": "swinv2_tiny_window8_256",
    "swinv2_small": "swinv2_small_window8_256",
    "vit_small": "vit_small_patch14_reg4_dinov2",
    "vit_base": "vit_base_patch14_reg4_dinov2",
    "vit_small_dinov3": "vit_small_patch16_dinov3",
    "vit_base_dinov3": "vit_base_patch16_dinov3",
}

TRANSFORMERS = {
    "mit_b0": {"hidden_sizes": [32, 64, 160, 256], "depths": [2, 2, 2, 2]},
    "mit_b1": {"hidden_sizes": [64, 128, 320, 512], "depths": [2, 2, 2, 2]},
    "mit_b2": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3]},
    "mit_b3": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 18, 3]},
}
"""Settings of Hugging Face's SegformerConfig."""

AUTHORS = {
    "nnunet": "MIC-DKFZ/dynamic-network-architectures",
    "vmamba_tiny": "MzeroMiko/VMamba",
    "umamba": "bowang-lab/U-Mamba",
}
"""Repositories of the authors."""

SIZES: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("swin_tiny", "swin_small"), (224, 256)),
    **dict.fromkeys(("swinv2_tiny", "swinv2_small"), (256, 288)),
    **dict.fromkeys(("vit_small", "vit_base"), (56, 84)),
    "nnunet": (192, 256),
    "umamba": (64, 128),
}
"""Height and width of the image, where it is not 64 x 96."""

LEVELS = {"umamba": 5}
"""How many levels have their values compared, where it is not all: over the few pixels of the others, instance
normalisation multiplies the rounding errors of those before."""

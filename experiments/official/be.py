"""Bone erosion scores of RAM-H1200: 0 to 5 at 16 joints, and of RAM-W600 at 6 joints of the wrist.

    python -m ramjax.main --config=experiments/official/be.py --workdir=runs/official_be

``h1200`` is the protocol of scores.py. ``w600`` has AdamW at 1e-6, by which its networks hardly move, 100 epochs in
batches of 16 joints, and an erosion weighs six times as much as none. RAM-W600 asks only whether a score is above 0,
by two logits; here six scores are learned, and the report has the same measures of above 0 (P/N-ACC, DOR).
"""

from ml_collections import ConfigDict

from experiments.official import parse, scores, train_for


def get_config(preset: str = "") -> ConfigDict:
    """Returns the protocol of ``h1200`` or ``w600``, with a network of `scores.NETWORKS`."""
    source, _ = parse(preset, ("h1200", "w600"), scores.NETWORKS)
    config = scores.get_config("+".join(word for word in preset.split("+") if word in scores.NETWORKS), ("be",))
    if source == "w600":
        config.data.datasets = ("ram_w600/joint",)
        config.data.canvas.height = config.data.canvas.width = 320
        config.data.batch_size = 4  # 24 joints
        config.scores.be_weights = (1.0, *(6.0,) * 5)
        config.optimizer.learning_rate, config.optimizer.weight_decay = 1e-6, 0.01
        train_for(config, 100, 559)
    return config

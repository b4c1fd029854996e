"""One step of training, of validation, of prediction, as pure functions of a state.

Used by training, evaluation and inference.
"""

"""The network in Keras: batches, losses, training with checkpoints, fine-tuning, export to a model file.

The only room that imports TensorFlow.
"""

__all__ = [
    "checkpoint",
    "dataset_batches",
    "early_stopping",
    "export",
    "fine_tune",
    "import_assignment",
    "scene_batches",
    "schedule",
    "trainer",
]  # what other rooms may import

"""What a training says of an epoch."""

from training.learning.tensorboard import epoch_line, scalars_of

ENTRY = {"epoch": 3, "loss": 0.12345, "learning_rate": 1e-3}
MEASURED = {
    "thresholds": [0.2, 0.5],
    "recall": {"own, quiet": [1.0, 0.75]},
    "speech_fa_per_hour": [9.0, 2.5],
    "noise_fa_per_hour": [0.0, 0.0],
}


def test_an_epoch_reads_in_one_line() -> None:
    assert epoch_line(ENTRY) == "epoch 3: loss 0.1235"
    measured = epoch_line(ENTRY | MEASURED)
    assert measured.startswith("epoch 3: loss 0.1235, at a threshold of 0.5: own, quiet 75%")
    assert measured.endswith("speech 2.5 an hour, noise 0 an hour")


def test_the_scalars_are_those_of_the_threshold_in_the_middle() -> None:
    values = scalars_of(ENTRY | MEASURED | {"score": 0.6})
    assert values["recall at 0.5/own, quiet"] == 0.75
    assert values["false accepts an hour at 0.5/speech"] == 2.5
    assert values["recall at the wished false accepts"] == 0.6
    assert set(scalars_of(ENTRY)) == {"loss", "learning rate"}

"""What can go wrong in training, each with a sentence for the user."""


class TrainingError(Exception):
    """Something that the user can mend; the message is one sentence that says what."""

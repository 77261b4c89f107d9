"""What was measured, for people: a report to look at and listen to, and a card for the model."""

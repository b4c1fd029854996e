"""The notice on every output that could be mistaken for a clinical finding."""

NOTE = "Research use only, not a medical device."

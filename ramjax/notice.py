"""What every output that could be taken for a finding says."""

NOTE = "Research use only, not a medical device."

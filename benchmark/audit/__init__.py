"""What would make a result on this data wrong: leakage across splits, and shortcuts to the label."""

"""What is asked: windows, horizons and labels. The ground floor: nothing here knows video or models."""

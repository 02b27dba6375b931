"""How a task is evaluated: N-shot episodes, drawn once and the same for every method."""

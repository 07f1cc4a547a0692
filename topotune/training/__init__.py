"""Training of one network; torch is all it needs. Knows nothing of a search: calls ``report`` after each epoch."""

# what a run leaves in its folder: checkpoint.py says what each holds
CONFIG, WEIGHTS, METRICS, RESULT, STATE, PREVIOUS, MEMORY, ARRANGEMENT = (
    "config.json", "model.safetensors", "metrics.csv", "result.json", "last/state.pt", "last/previous.pt",
    "last/memory.json", "arrangement.json",
)  # fmt: skip

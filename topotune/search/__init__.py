"""The search: Optuna says what to try and when to stop, Ray Tune runs it."""

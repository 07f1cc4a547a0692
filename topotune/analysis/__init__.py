"""What a trained network's units have come to represent, and whether that is laid out on their positions."""

"""How the embedded weights are made."""

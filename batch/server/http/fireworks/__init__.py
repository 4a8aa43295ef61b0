"""The face of Fireworks' REST: datasets and batch inference jobs. Knows no other face."""

"""Self-supervised image encoders in JAX: pretrain without labels, evaluate without labels."""

__version__ = "0.2.0"

"""Pretrain image encoders without labels, and tell without labels which encoder is good."""

"""Linen layers, channels last: no diffusion, no mesh, no model names."""

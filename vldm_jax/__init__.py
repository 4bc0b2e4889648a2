"""Video latent diffusion in JAX: an image model, frozen, with temporal layers trained on video.

Implements "Align your Latents: High-Resolution Video Synthesis with Latent Diffusion Models"
(arXiv:2304.08818). See the README for the map of the packages.
"""

__version__ = "0.1.0"

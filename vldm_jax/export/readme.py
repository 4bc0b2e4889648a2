"""The README of a program: what it takes and returns, and the lines that load and call it."""

from collections.abc import Mapping
from typing import Any

PROGRAM, WEIGHTS = "program.stablehlo", "weights.safetensors"
_README = """# A compiled program

{description}

| input or result | shape | type |
|---|---|---|
{arrays}

Runs on {platforms} without the project that wrote it: `pip install jax flatbuffers safetensors`,
then, in this folder,

```python
{snippet}
```

Sizes are fixed, except one with a name: any number can stand there. The first call compiles.

Written by jax {jax} with jaxlib {jaxlib}. jax promises that it {runs_with} ({source}).
Others may run it, none has to. To keep it longer, keep the weights and export again with a newer
jax, or keep this one: `pip install jax=={jax} jaxlib=={jaxlib}`.
"""
# Compatibility guarantees of jax.export, as of jax 0.10.2; when a jaxlib was built is what counts.
RUNS_WITH = "runs with releases of jaxlib from 3 weeks before to 6 months after {jaxlib} was built"
_SOURCE = "https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees"
_SNIPPET = f"""from pathlib import Path
import jax
import numpy as np
from jax import export
from safetensors.numpy import load_file

program = export.deserialize(bytearray(Path("{PROGRAM}").read_bytes()))
params = jax.device_put(load_file("{WEIGHTS}"))
inputs = {{{{
{{inputs}}
}}}}
result = jax.jit(program.call)(params, **inputs)"""


def readme(meta: Mapping[str, Any]) -> str:
    """Return the README of a program, from what its program.json says."""
    arrays = meta["inputs"] | meta["outputs"]
    rows = [
        f"| {k} | {' x '.join(map(str, a['shape']))} | {a['dtype']} |" for k, a in arrays.items()
    ]
    examples = []
    for name, array in meta["inputs"].items():
        shape = tuple(size if isinstance(size, int) else 1 for size in array["shape"])
        examples.append(f'    "{name}": np.zeros({shape}, "{array["dtype"]}"),')
    return _README.format(
        description="\n".join(f"- {key}: {value}" for key, value in meta["description"].items()),
        arrays="\n".join(rows),
        platforms=", ".join(meta["platforms"]),
        snippet=_SNIPPET.format(inputs="\n".join(examples)),
        jax=meta["jax"],
        jaxlib=meta["jaxlib"],
        runs_with=meta["runs_with"],
        source=_SOURCE,
    )

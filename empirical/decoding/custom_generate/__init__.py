"""A folder for `generate(custom_generate=...)` of transformers (needs the extra `models`).

    from empirical.decoding.custom_generate import FOLDER
    model.generate(**inputs, custom_generate=FOLDER, trust_remote_code=True, rule="search")

The folder has the layout of a repository on the hub, where it may be put as it is; whoever uses it
needs this package. The function in it attaches the decoder and hands on to `generate` itself, so
streamers, beams, sampling, caches and assistants work as ever.
"""

from importlib.resources import files

FOLDER = str(files("empirical.decoding.custom_generate"))
"""Path for `custom_generate`; transformers asks for `trust_remote_code=True` for local ones too."""

"""Write the tensors and config fields of our own files of weights under their names of today (`tapetum.hub.renamed`).

    python benchmarks/rename_weights.py src/tapetum/systems/*/bundled/*.safetensors

Numbers stay as they are, to the bit. Printed are bytes and SHA-256 of each file that has changed, for `published.py`.
"""

import argparse
import hashlib
import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from tapetum.core.files import whole_file
from tapetum.hub.renamed import current_config, current_tensors


def current_header(header: dict[str, str]) -> dict[str, str]:
    """Rename the fields of the entries that are JSON objects."""
    parsed = {key: json.loads(text) if text.startswith("{") else None for key, text in header.items()}
    return {key: header[key] if content is None else json.dumps(current_config(content)) for key, content in parsed.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    for path in parser.parse_args().files:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        renamed, renamed_header = current_tensors(tensors), current_header(header)
        if renamed.keys() != tensors.keys() or renamed_header != header:
            with whole_file(path) as temporary:
                save_file(renamed, temporary, renamed_header)
            print(path, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()

"""Prints how many usable rows LLaMA-Factory's own loader and converter find in each dataset of a folder, as JSON.

Usage: <LLaMA-Factory's python> convert.py FOLDER - the folder of a dataset_info.json. An exception counts as -1.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace


def main() -> None:
    """Loads each dataset on its own, so that a broken one says nothing about the others."""
    folder = sys.argv[1]
    names = list(json.loads(Path(folder, "dataset_info.json").read_text(encoding="utf-8")))
    with contextlib.redirect_stdout(io.StringIO()):
        found = {name: usable_rows(folder, name) for name in names}
    print(json.dumps(found))


def usable_rows(folder: str, name: str) -> int:
    """Rows with a question and an answer after the conversion."""
    from llamafactory.data.loader import _load_single_dataset
    from llamafactory.data.parser import get_dataset_list

    data = SimpleNamespace(
        dataset_dir=folder,
        media_dir=folder,
        streaming=False,
        preprocessing_num_workers=None,
        overwrite_cache=True,
        max_samples=None,
    )
    model = SimpleNamespace(cache_dir=f"{folder}/cache", hf_hub_token=None)
    training = SimpleNamespace(local_process_index=0, dataloader_num_workers=0)
    try:
        (attributes,) = get_dataset_list([name], folder)
        rows = _load_single_dataset(attributes, model, data, training)
        return sum(1 for row in rows if row["_prompt"] and row["_response"])
    except Exception as error:  # noqa: BLE001 - whatever it is, the dataset cannot be used
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        return -1


if __name__ == "__main__":
    main()

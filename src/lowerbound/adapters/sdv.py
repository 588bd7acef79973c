"""SDGym: the two functions that it makes a synthesizer of.

`sdgym.create_single_table_synthesizer("lowerbound", get_trained_synthesizer, sample_from_synthesizer)` is what its
benchmarks take.
"""

from typing import Any

from lowerbound.errors import InputError
from lowerbound.estimator import DiffusionDensity

MODELLED = ("numerical", "categorical", "boolean", "datetime")
"""The types of columns, by SDV's names, that are learned; identifiers are counted anew, and anything else is refused."""


def get_trained_synthesizer(data: Any, metadata: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Train on a table.

    Arguments:
        data: a pandas.DataFrame.
        metadata: SDV's description of it as a dictionary, of its columns or of one table.
        settings: of `DiffusionDensity`.

    Raises:
        InputError: for a column of a type that is not modelled.
    """
    columns = metadata if "columns" in metadata else next(iter(metadata["tables"].values()))
    kinds = {name: columns["columns"][name]["sdtype"] for name in data.columns}
    if others := [name for name, kind in kinds.items() if kind not in (*MODELLED, "id")]:
        raise InputError(
            f"column {others[0]!r} is {kinds[others[0]]}: {', '.join(MODELLED)} columns are modelled; leave out the others"
        )
    modelled = [name for name, kind in kinds.items() if kind in MODELLED]
    named = [name for name in modelled if kinds[name] == "categorical" and data[name].dtype.kind != "b"]
    rows = data[modelled].astype(dict.fromkeys(named, "category"))
    estimator = DiffusionDensity(**settings).fit(rows)
    return {"estimator": estimator, "template": data.iloc[:0], "modelled": modelled}


def sample_from_synthesizer(synthesizer: dict[str, Any], num_rows: int) -> Any:
    """Draw rows: a pandas.DataFrame with the columns and types of what was trained on.

    Arguments:
        synthesizer: of `get_trained_synthesizer`.
        num_rows: how many.
    """
    import numpy as np
    import pandas as pd

    template, modelled = synthesizer["template"], synthesizer["modelled"]
    drawn = pd.DataFrame(synthesizer["estimator"].sample(num_rows), columns=modelled)
    columns = {}
    for name, dtype in template.dtypes.items():
        values = drawn[name] if name in modelled else pd.Series(np.arange(num_rows))
        is_fraction = dtype.kind in "iu" and values.dtype.kind == "f"
        columns[name] = (values.round() if is_fraction else values).astype(dtype)
    return pd.DataFrame(columns)

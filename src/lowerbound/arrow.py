"""Arrow's functions of columns, which it makes as it is loaded, so that no checker of types knows them."""

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute

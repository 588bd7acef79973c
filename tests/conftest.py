"""Every test runs with shapes and types checked: jaxtyping annotations enforced by beartype."""

from jaxtyping import install_import_hook

install_import_hook("lowerbound", "beartype.beartype")

"""Every test runs with shapes and types checked: jaxtyping annotations enforced by beartype."""

from jaxtyping import install_import_hook

install_import_hook("lowerbound", "typechecking.check")


def pytest_configure(config):
    # torch's own rules for forward-mode differentiation are compiled with it at their first use
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit.script` is deprecated:DeprecationWarning")

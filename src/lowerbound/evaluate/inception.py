r"""Inception-v3 as a space of features: the one in which papers on images compare, through torch-fidelity.

In its 2,048 features behind the last pooling, neither centred nor scaled, the Frechet distance is the FID (Heusel et al.
2017) and the kernel distance the KID (Binkowski et al. 2018): `quality` computes both as it does in every other space. What
is compared are 8-bit images of three channels, which torch-fidelity enlarges to 299 x 299 as the first implementation did.

The two names stand for these weights alone. With others the distances are told, and called by no name that is not theirs.
"""

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lowerbound.data import DataSpec
from lowerbound.data.directory import data_directory
from lowerbound.data.extras import extra
from lowerbound.errors import InputError
from lowerbound.evaluate.features import FeatureSpace
from lowerbound.files.whole import file_hash
from lowerbound.imports.files import read_tensors

FILE = "weights-inception-2015-12-05-6726825d.pth"
"""By the name that torch-fidelity gives it."""
ADDRESS = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
PUBLISHED = "6726825d"
"""How the file's SHA-256 begins."""
NUM_FEATURES = 2048
AT_ONCE = 16
"""Images: of more at a time a processor computes fewer in a second."""


def inception_space(spec: DataSpec, weights: Path | None = None, device: torch.device | str = "cpu") -> FeatureSpace:
    """The space of Inception-v3's features of a data set's images.

    Arguments:
        spec: of the data: images of one or three channels, whose K levels become 0 to 255; grey ones are repeated.
        weights: the file; if not given, `FILE` in the data directory, or where torch-fidelity itself has put it.
        device: that computes the features.

    Raises:
        InputError: for other data, without the file or with a damaged one, or if torch-fidelity is not installed.
    """
    encoding, num_levels = spec.encoding, spec.num_levels
    if len(spec.shape) != 3 or spec.shape[0] not in (1, 3) or num_levels is None:
        values = "real numbers" if num_levels is None else f"{num_levels} levels"
        raise InputError(
            f"examples of {spec.name} have the shape {spec.shape} and hold {values}: Inception-v3 looks at images in levels "
            "(integers) of 1 channel, repeated, or 3; leave out --features inception"
        )
    path = _file(weights)
    network, digest = _network(path).to(device), file_hash(path)
    network.to(memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload] - a third faster on a CPU

    def features(x: Tensor) -> Tensor:
        levels = encoding.decode(x).astype(np.float64) - encoding.offset
        pixels = torch.from_numpy(np.rint(levels * (255 / (num_levels - 1))).astype(np.uint8))
        return network(pixels.expand(-1, 3, -1, -1).to(device))[0].cpu()

    is_published = digest.startswith(PUBLISHED)
    name = f"Inception-v3's last pooling{'' if is_published else ', with weights that are not the published ones'}"
    centre = np.zeros(NUM_FEATURES)
    return FeatureSpace(name, features, centre, 1.0, digest[:12], at_once=AT_ONCE, is_inception=is_published)


def _file(weights: Path | None) -> Path:
    """The file of weights."""
    if weights is not None:
        if not weights.is_file():
            raise InputError(f"{weights} is not there: --inception-weights is the file {FILE} from {ADDRESS}")
        return weights
    for folder in (data_directory(), Path(torch.hub.get_dir()) / "checkpoints"):
        if (folder / FILE).is_file():
            return folder / FILE
    raise InputError(
        f"the weights of Inception-v3 are not in the data directory {data_directory()}: put there {FILE} from {ADDRESS}, or "
        "say where it is by --inception-weights"
    )


def _network(path: Path) -> nn.Module:
    """The network with a file's weights; torch-fidelity itself would run whatever program a file holds."""
    try:
        library = extra("torch_fidelity", "fid", "--features inception")
    except RuntimeError as error:
        raise InputError(
            f"torch-fidelity's torchvision does not fit torch {torch.__version__} ({error}): install the torchvision that "
            "belongs to it, from the same index"
        ) from error
    tensors = io.BytesIO()
    torch.save(read_tensors(path), tensors)
    tensors.seek(0)
    try:
        return library.FeatureExtractorInceptionV3(
            "inception-v3-compat", [str(NUM_FEATURES)], feature_extractor_weights_path=tensors
        )
    except RuntimeError as error:  # tensors of other names or shapes
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} does not hold the weights of Inception-v3 ({reason}): take {FILE} from {ADDRESS}"
        ) from error

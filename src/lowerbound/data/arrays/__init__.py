"""Arrays from .npy and .npz files, and fields with named axes from NetCDF and Zarr."""

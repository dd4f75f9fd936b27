"""Reading of training data of any size: in chunks, on this computer or on the workers of Dask."""

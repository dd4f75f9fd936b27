"""Program that JupyterHub runs in the cluster: its configuration, and sign-on by the door. It imports nothing else."""

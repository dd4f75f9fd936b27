"""The start page of the door: a program in its pod, where only the libraries of MLflow are installed."""

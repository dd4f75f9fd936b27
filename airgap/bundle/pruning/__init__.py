"""Deletion of what no version of the program and no stack of this computer needs any longer."""

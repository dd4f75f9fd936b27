"""Program that takes the pods of a dead node out of their Services. In its pod, only Python is installed."""

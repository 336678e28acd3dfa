"""A run's folder: what is in it, reading and writing it, its protocol, loading a module from it, exports."""

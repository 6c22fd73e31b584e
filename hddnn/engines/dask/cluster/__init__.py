"""The processes of an emulated system on this machine."""

"""Which public models come in, are built for this machine, and give what torch gives."""

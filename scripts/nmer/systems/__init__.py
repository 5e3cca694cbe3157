"""Systems: one file each, beside the blocks they share and the interface they fulfil."""

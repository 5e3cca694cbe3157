"""Systems: one file each, with the blocks that they share and the interface that they implement."""

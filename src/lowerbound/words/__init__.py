"""What people read: numbers to the digits that are known, numbers of things, names that are fit for a terminal."""

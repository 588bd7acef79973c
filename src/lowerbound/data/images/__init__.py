"""Images in folders and archives: which files they are, their splits and classes, and formats that Pillow does not read."""

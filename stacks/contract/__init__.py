"""What the program and the controller share: outputs, names and tags, errors."""

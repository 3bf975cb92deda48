"""What a kit says of stolen models that were modified afterwards, and of independent models treated alike."""

"""Language detection, splitting text into words, and the terms that search uses."""

"""What kind of Debian package is it? A binary BERT that reads one-line descriptions."""
